"""Every command of the documentation is run, page by page, in the order of the page."""

from pathlib import Path

import pytest
from tests.dialect.doc_blocks import ROOT, RUNNABLE, Shell, blocks
from tests.dialect.server_process import NEEDS_CURL

pytestmark = [pytest.mark.dialect, pytest.mark.timing]

NOT_RUN = {
    (
        "docs/how-to/plug-in-a-bot.md",
        "from pipecat.runner.utils import parse_telephony_websocket",
    ): "a fragment of a bot; tests/wire/test_pipecat_bot.py runs all of it",
    (
        "docs/how-to/plug-in-a-bot.md",
        "from twilio.request_validator import RequestValidator",
    ): "a fragment of a bot; tests/contract/test_websocket_agent.py does it",
    ("docs/how-to/run-as-a-service.md", "useradd --system --no-create-home onhook"): "needs root and systemd",
    ("docs/how-to/debug-a-call.md", "tcpdump -i any -w call.pcap udp port 5060"): "needs root",
    (
        "docs/how-to/failure-sandbox.md",
        "from onhook.lines.sandbox import SandboxCarrier",
    ): "a fragment of a test; tests/wire/test_sandbox_carrier.py uses all of it",
}

PAGES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md"))
RUN = {
    page: todo
    for page in PAGES
    if (todo := [b for b in blocks(page) if b.language in RUNNABLE and (page, b.first_line) not in NOT_RUN])
}


@NEEDS_CURL
@pytest.mark.parametrize("page", RUN)
def test_every_command_of_the_page_does_what_the_page_says(page: str, tmp_path: Path) -> None:
    with Shell(tmp_path) as shell:
        shell.start_carrier()
        for block in RUN[page]:
            shell.follow(block)


def test_what_is_not_run_is_still_there() -> None:
    there = {(page, block.first_line) for page in PAGES for block in blocks(page)}
    assert set(NOT_RUN) <= there


def test_no_command_hides_in_a_block_without_a_language() -> None:
    known = {*RUNNABLE, "text", "toml", "ini", "json", "mermaid", "promql", "yaml"}
    assert {block.language for page in PAGES for block in blocks(page)} <= known
