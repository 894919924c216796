"""The documentation is whole: generated pages fresh, links that lead somewhere, settings that load."""

import importlib.util
import re
import tomllib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from onhook.agents.reading import OWN
from onhook.agents.words import RETELL, TALKOVER
from onhook.cli import app
from onhook.settings import Settings
from onhook.webhooks.breaker import FAILURES as BREAKER_FAILURES
from onhook.webhooks.breaker import OPEN_MAX_S, OPEN_S
from onhook.webhooks.courier import Limits
from onhook.webhooks.retries import DIALECT_DELAYS_S, NATIVE_DELAYS_S
from onhook.webhooks.signatures import body_signature, retell_signature, standard_headers

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
SETTING = re.compile(r"\bONHOOK_[A-Z_]+[A-Z]\b")
TOOL_VARIABLES = {"ONHOOK_INBOUND_PASSWORD", "ONHOOK_TOKEN", "ONHOOK_URL", "ONHOOK_CONFIG"}


@cache
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """Return the anchors that a page's headings make, as GitHub does."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


@pytest.mark.parametrize("name", ["states.md", "causes.md", "webhook-events.md", "cli.md", "metrics.md"])
def test_a_generated_page_is_what_the_code_says_now(name: str) -> None:
    page = generate().PAGES[name]()
    assert (DOCS / "reference" / name).read_text() == page, "run python docs/generate.py"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for link in links(page):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


def test_every_page_can_be_found_from_the_index() -> None:
    seen: set[Path] = set()
    todo = [DOCS / "index.md"]
    while todo:
        page = todo.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        todo += [(page.parent / link.partition("#")[0]).resolve() for link in links(page) if "://" not in link]
    assert set(DOCS.rglob("*.md")) <= seen


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    known = {f"ONHOOK_{name.upper()}" for name in Settings.model_fields} | TOOL_VARIABLES
    assert set(SETTING.findall(page.read_text())) <= known


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_toml_block_holds_settings_that_exist(page: Path) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL):
        assert set(tomllib.loads(block)) <= set(Settings.model_fields)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_onhook_command_that_a_page_names_exists(page: Path) -> None:
    known = {name for name, _ in generate().commands(app, "onhook")}
    groups = {name.rpartition(" ")[0] for name in known}
    for named in re.findall(r"`onhook ([a-z-]+(?: [a-z-]+)?)", page.read_text()):
        words = f"onhook {named}"
        assert words in known | groups or words.rpartition(" ")[0] in known, words


def test_every_command_and_every_option_says_what_it_is_for() -> None:
    for name, command in generate().commands(app, "onhook"):
        assert command.callback is not None
        assert command.callback.__doc__, name
        for written, info in generate().parameters(command):
            assert info.help, f"{name} {written}"
            assert info.help.endswith("."), f"{name} {written}"


def test_the_signatures_that_the_webhook_page_shows_are_those_that_are_sent() -> None:
    page = (DOCS / "how-to" / "receive-webhooks.md").read_text()
    (key,) = set(re.findall(r"whsec_\w+", page)) - {"whsec_"}
    assert standard_headers("msg_1", 1_700_000_000, b'{"type":"call.ended"}', [key])["webhook-signature"] in page
    assert body_signature("my secret", b'{"event":"event_phone_call_ended"}') in page
    assert retell_signature("test-api-key", 1_700_000_000_000, b'{"event":"call_ended"}') in page


def test_the_retries_that_the_webhook_page_shows_are_those_that_are_made() -> None:
    page = (DOCS / "how-to" / "receive-webhooks.md").read_text()
    assert NATIVE_DELAYS_S == (5, 300, 1800, 7200, 18_000, 36_000, 36_000)
    assert DIALECT_DELAYS_S == (5, 30, 120, 600, 1800, 3600)
    assert (BREAKER_FAILURES, OPEN_S, OPEN_MAX_S, Limits().per_endpoint) == (5, 30, 600, 8)
    for words in ("5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 10 h", "5 s, 30 s, 2 min, 10 min, 30 min, then 1 h each"):
        assert words in page
    for words in ("five failures in a row", "half a minute", "up to ten minutes", "at most eight deliveries"):
        assert words in " ".join(page.split())


def test_the_page_about_settings_names_each_one_in_all_words() -> None:
    named = set(re.findall(r"`([a-z_.]+)`", (DOCS / "reference" / "agents.md").read_text()))
    assert set(OWN) | set(TALKOVER) | set(RETELL) <= named
    assert {name for name in named if name.startswith("idle.")} <= set(OWN)


def test_the_readme_fits_on_two_screens() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120


def test_changelog_fragments_are_named_as_their_readme_says() -> None:
    fragments = [path.name for path in (ROOT / "changelog").iterdir() if path.name != "README.md"]
    assert fragments
    assert all(re.fullmatch(r"\d{4}\.(added|changed|fixed|removed)\.md", name) for name in fragments)
