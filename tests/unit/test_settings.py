"""Settings: the environment over the file, unknown keys fatal, the documented file complete."""

import re
from pathlib import Path

import pytest

from onhook.settings import Settings, SettingsError, load_settings

pytestmark = pytest.mark.unit

EXAMPLE = Path(__file__).parents[2] / "docs" / "reference" / "onhook.toml"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in os.environ:
        if name.startswith("ONHOOK_"):
            monkeypatch.delenv(name)


def test_the_documented_file_holds_every_setting_and_the_defaults() -> None:
    keys = re.findall(r"^(?:# )?(\w+) = ", EXAMPLE.read_text(), re.MULTILINE)
    assert sorted(keys) == sorted(Settings.model_fields)
    assert load_settings(EXAMPLE) == load_settings()


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "onhook.toml"
    file.write_text('http_bind = "127.0.0.1:1"\nstop_wait_ms = 5\n')
    monkeypatch.setenv("ONHOOK_HTTP_BIND", "127.0.0.1:2")
    settings = load_settings(file)
    assert settings.http_address == ("127.0.0.1", 2)
    assert settings.stop_wait_ms == 5


def test_an_unknown_key_is_fatal_in_the_file_and_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "onhook.toml"
    file.write_text("stop_wait = 5\n")
    with pytest.raises(SettingsError, match="stop_wait"):
        load_settings(file)
    monkeypatch.setenv("ONHOOK_STOP_WAIT", "5")
    with pytest.raises(SettingsError, match="ONHOOK_STOP_WAIT"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP_BIND", "8080"),
        ("HTTP_BIND", "127.0.0.1:99999"),
        ("TRUNK_URI", "example.com"),
        ("DATABASE_URL", "postgres://localhost/x"),
        ("STOP_WAIT_MS", "soon"),
        ("LOG_LEVEL", "LOUD"),
        ("DIAL_ALLOW", "+1"),
        ("AGENT_KIND", "telepathy"),
        ("AGENT_PROCESSES", "0"),
        ("AGENT_URL_ALLOW", "wss://bots.example.com"),
        ("AGENT_URL_ALLOW", '["https://bots.example.com"]'),
        ("RECORDING_DAYS", "-1"),
        ("RECORDING_FORMAT", "mp3"),
        ("PUBLIC_URL", "onhook.example.com"),
        ("PUBLIC_URL", "https://onhook.example.com/?x=1"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ONHOOK_{name}", value)
    with pytest.raises(SettingsError, match=name.lower()):
        load_settings()


def test_a_list_is_json_in_the_environment_and_a_list_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "onhook.toml"
    file.write_text('dial_allow = ["+1"]\n')
    assert load_settings(file).dial_allow == ("+1",)
    monkeypatch.setenv("ONHOOK_DIAL_ALLOW", '["+44", "+49"]')
    assert load_settings(file).dial_allow == ("+44", "+49")


def test_recordings_are_beside_the_database_unless_they_are_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONHOOK_DATA_DIR", "/var/lib/onhook")
    assert load_settings().recordings_path == Path("/var/lib/onhook/recordings")
    monkeypatch.setenv("ONHOOK_RECORDINGS_DIR", "/srv/calls")
    assert load_settings().recordings_path == Path("/srv/calls")


def test_the_public_url_is_kept_without_a_slash_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONHOOK_PUBLIC_URL", "https://example.com/onhook/")
    assert load_settings().public_url == "https://example.com/onhook"


def test_where_bots_may_be_is_a_list_of_websocket_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONHOOK_AGENT_URL_ALLOW", '["wss://bots.example.com/voice/", "ws://10.0.0.5:8765"]')
    assert load_settings().agent_url_allow == ("wss://bots.example.com/voice/", "ws://10.0.0.5:8765")


@pytest.mark.parametrize(("low", "high"), [("20000", "0"), ("0", "20000"), ("20000", "10000"), ("20000", "20000")])
def test_half_a_port_range_is_refused(low: str, high: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONHOOK_RTP_PORT_MIN", low)
    monkeypatch.setenv("ONHOOK_RTP_PORT_MAX", high)
    with pytest.raises(SettingsError, match="rtp_port_min and rtp_port_max: give both"):
        load_settings()


def test_sip_listens_on_loopback_until_a_trunk_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().sip_address == ("127.0.0.1", 5060)
    monkeypatch.setenv("ONHOOK_TRUNK_URI", "sip:sip.example.com;transport=udp")
    assert load_settings().sip_address == ("0.0.0.0", 5060)
    monkeypatch.setenv("ONHOOK_SIP_BIND", "127.0.0.1:5099")
    assert load_settings().sip_address == ("127.0.0.1", 5099)


def test_an_unreadable_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml"):
        load_settings(tmp_path / "missing.toml")
    broken = tmp_path / "broken.toml"
    broken.write_text("= 1")
    with pytest.raises(SettingsError, match="broken"):
        load_settings(broken)
