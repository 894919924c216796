"""Which bots may be connected to, what they are told our objects are called, and what waits for them to be read."""

import uuid
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from onhook.agents.bot_urls import check_allowed, check_bot_url
from onhook.agents.definition import BargeIn, DefinitionError
from onhook.agents.reading import BotUrls, definition_of
from onhook.agents.send_queue import MAX_AUDIO, MAX_OTHERS, Outgoing, SendQueue
from onhook.agents.twilio import account_sid, call_ids, call_sid, websocket_signature
from onhook.calls.call import Dialect, new_call_id
from onhook.provision import DEFAULT_ENVIRONMENT
from onhook.store.secrets import SecretBox
from onhook.store.store import Agent, ApiKey
from onhook.testing.store import MemoryStore
from onhook.voice.credentials import signing_credentials

pytestmark = pytest.mark.unit

ALLOWED = (
    "wss://bots.example.com/voice/",
    "wss://bots.example.com:8443",
    "ws://10.0.0.7:8765/bot",
    "wss://[2001:DB8::7]/",
)


@pytest.mark.parametrize(
    "url",
    [
        "wss://bots.example.com/voice/",
        "wss://bots.example.com/voice/one?room=7",
        "wss://BOTS.example.com./voice/one",
        "wss://bots.example.com:443/voice/one",
        "wss://bots.example.com:8443",
        "wss://bots.example.com:8443/anything",
        "ws://10.0.0.7:8765/bot",
        "ws://10.0.0.7:8765/bot/one",
        "wss://[2001:db8:0:0::7]/one",
    ],
)
def test_a_bot_at_an_allowed_origin_below_its_path_may_be_connected_to(url: str) -> None:
    check_bot_url(url, ALLOWED, allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "wss://bots.example.com.evil.net/voice/",
        "wss://evil.net/wss://bots.example.com/voice/",
        "wss://bots.example.com@evil.net/voice/",
        "wss://bots.example.com:443@evil.net/voice/",
        "wss://user:word@bots.example.com/voice/",
        "wss://evil.net#bots.example.com/voice/",
        "wss://evil.net\\@bots.example.com/voice/",
        "wss://bots.example.com/voice/#part",
        "wss://bots.example.com/voices/",
        "wss://bots.example.com/voice",
        "wss://bots.example.com/",
        "wss://bots.example.com/voice/../admin",
        "wss://bots.example.com/voice/%2e%2E/admin",
        "wss://bots.example.com/voice/..%2fadmin",
        "wss://bots.example.com/voice/..%5cadmin",
        "wss://bots.example.com:444/voice/",
        "wss://bots.example.com:99999/voice/",
        "ws://bots.example.com/voice/",
        "https://bots.example.com/voice/",
        "wss:bots.example.com/voice/",
        "wss:///voice/",
        "wss://[bots.example.com/voice/",
        "//bots.example.com/voice/",
        "wss://bots.example.com/vo ice/",
        "wss://bots.example.com/voice/\r\nX-Header: 1",
        "wss://bots.exämple.com/voice/",
        "ws://10.0.0.7:8765/botnet",
        "ws://127.0.0.1:8765/bot",
        "",
    ],
)
def test_every_other_bot_is_refused(url: str) -> None:
    with pytest.raises(DefinitionError, match=r"^url: "):
        check_bot_url(url, ALLOWED, allow_private=False)


@pytest.mark.parametrize("url", ["ws://127.0.0.1:8765/bot", "ws://localhost:1/", "wss://[::1]/", "ws://127.8.8.8/"])
def test_bots_on_loopback_are_allowed_to_a_sandbox_only(url: str) -> None:
    check_bot_url(url, (), allow_private=True)

    with pytest.raises(DefinitionError, match="agent_url_allow"):
        check_bot_url(url, (), allow_private=False)


@pytest.mark.parametrize("url", ["ws://192.168.0.9/", "ws://169.254.169.254/latest", "wss://localhost.evil.net/"])
def test_a_sandbox_reaches_no_further_than_loopback(url: str) -> None:
    with pytest.raises(DefinitionError, match="not allowed"):
        check_bot_url(url, (), allow_private=True)


def test_an_entry_of_the_list_that_could_match_nothing_is_an_error() -> None:
    assert check_allowed("wss://bots.example.com/") == "wss://bots.example.com/"
    for entry in ("bots.example.com", "wss://user@bots.example.com/", "*", "https://bots.example.com"):
        with pytest.raises(DefinitionError):
            check_allowed(entry)


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_calls_sid_has_twilios_shape_and_leads_back_to_the_call(dialect: Dialect) -> None:
    call_id = new_call_id(dialect)

    sid = call_sid(call_id)

    assert len(sid) == 34
    assert sid.startswith("CA")
    assert call_id in call_ids(sid)
    assert call_ids(call_id) == (call_id,)


@given(st.uuids(version=4))
def test_every_uuid_leads_back_to_itself(call_id: uuid.UUID) -> None:
    assert str(call_id) in call_ids(call_sid(str(call_id)))


def test_an_id_of_another_shape_stays_as_it_is() -> None:
    assert call_sid("call_1") == "call_1"
    assert call_ids("call_1") == ("call_1",)
    assert call_ids("CAxyz") == ("CAxyz",)


def test_the_documentation_names_the_account_sid_of_the_default_environment() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "plug-in-a-bot.md"
    assert account_sid(DEFAULT_ENVIRONMENT) in page.read_text()


def test_an_environments_sid_has_twilios_shape_and_stays_the_same() -> None:
    sid = account_sid("env_default")

    assert sid == account_sid("env_default") != account_sid("env_other")
    assert len(sid) == 34
    assert sid.startswith("AC")


@pytest.mark.parametrize("url", ["wss://bots.example.com/voice/", "ws://127.0.0.1:8765/bot?room=7", "wss://b.example"])
def test_twilios_own_validator_accepts_the_signature_of_a_connection(url: str) -> None:
    signature = websocket_signature("key_secret", url)

    assert RequestValidator("key_secret").validate(url, {}, signature)
    assert not RequestValidator("key_another").validate(url, {}, signature)
    assert not RequestValidator("key_secret").validate(url + "x", {}, signature)


@pytest.mark.parametrize(("settings", "barge_in"), [({}, BargeIn.OFF), ({"barge_in": "vad"}, BargeIn.VAD)])
def test_the_line_leaves_interruptions_to_the_bot_unless_the_agent_says_otherwise(
    settings: dict[str, str], barge_in: BargeIn
) -> None:
    settings = settings | {"url": "ws://127.0.0.1:8765/"}
    agent = Agent("agent_1", "env_1", Dialect.NATIVE, "a", "A", 0, 0, kind="websocket", settings=settings)

    assert definition_of(agent, None, BotUrls(allow_private=True)).barge_in is barge_in


async def test_a_bot_is_signed_to_with_the_newest_key_that_is_kept_and_not_revoked() -> None:
    store, box = MemoryStore(), SecretBox(Fernet.generate_key())
    for number, (secret, revoked_at, environment) in enumerate(
        [
            ("oldest", None, "env_1"),
            ("chosen", None, "env_1"),
            ("revoked", 9, "env_1"),
            (None, None, "env_1"),
            ("foreign", None, "env_2"),
        ]
    ):
        kept = box.encrypt(secret) if secret else None
        await store.put(ApiKey(f"key_{number}", environment, "k", f"{number}", "0000", number, revoked_at, kept))

    assert await signing_credentials(store, box.decrypt, "env_1") == {
        "account_sid": account_sid("env_1"),
        "auth_token": "chosen",
    }
    with pytest.raises(DefinitionError, match="keys create --signs"):
        await signing_credentials(store, box.decrypt, "env_3")


async def test_a_full_queue_drops_its_oldest_audio_and_nothing_else() -> None:
    queue = SendQueue()
    queue.put(Outgoing("first", {}))
    for number in range(MAX_AUDIO + 3):
        queue.put(Outgoing("media", {"n": number}, is_audio=True))
    queue.put(Outgoing("last", {}))

    got = [await queue.get() for _ in range(MAX_AUDIO + 2)]

    assert [one.event for one in got] == ["first", *["media"] * MAX_AUDIO, "last"]
    assert [one.body["n"] for one in got[1:-1]] == list(range(3, MAX_AUDIO + 3))


def test_a_queue_that_nobody_reads_refuses_at_some_point() -> None:
    queue = SendQueue()
    taken = [queue.put(Outgoing("mark", {})) for _ in range(MAX_OTHERS + 1)]

    assert taken == [True] * MAX_OTHERS + [False]
    assert queue.put(Outgoing("media", {}, is_audio=True))
