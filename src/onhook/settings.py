"""Configuration: `ONHOOK_*` environment variables over an optional TOML file. Unknown keys are fatal."""

import importlib.util
import ipaddress
import json
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_core import ErrorDetails

from onhook.agents.definition import AgentKind, DefinitionError

PREFIX = "ONHOOK_"
NOT_SETTINGS = frozenset({"ONHOOK_CONFIG", "ONHOOK_INBOUND_PASSWORD", "ONHOOK_TOKEN", "ONHOOK_URL", "ONHOOK_TEST_APT"})
"""Variables of the command line tool and of the test command, which the server does not read."""


class SettingsError(Exception):
    """The configuration cannot be used; the message says which key and why."""


class Settings(BaseModel):
    """All settings of the server. Binds are `host:port`; port 0 picks a free one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Path("onhook-data")
    http_bind: str = "127.0.0.1:8080"
    sip_bind: str | None = None
    sip_advertised_address: str | None = None
    rtp_port_min: int = Field(default=0, ge=0, le=65534)
    rtp_port_max: int = Field(default=0, ge=0, le=65535)
    database_url: str | None = None
    trunk_uri: str | None = None
    trunk_username: str | None = None
    trunk_password: SecretStr | None = None
    trunk_inbound_username: str | None = None
    trunk_inbound_password: SecretStr | None = None
    max_calls: int = Field(default=0, ge=0)
    stop_wait_ms: int = Field(default=1000, ge=0, le=30_000)
    secret_key: SecretStr | None = None
    dial_allow: tuple[str, ...] = ()
    inbound_allow: tuple[str, ...] = ()
    default_region: str | None = Field(default=None, pattern="^[A-Z]{2}$")
    slow_client_s: float = Field(default=15.0, gt=0)
    max_body_bytes: int = Field(default=65_536, ge=1024)
    max_requests: int = Field(default=256, ge=1)
    rate_limit_per_minute: int = Field(default=0, ge=0)
    webhook_allow_private: bool = False
    agent_kind: AgentKind = AgentKind.SCRIPTED
    agent_processes: int = Field(default=2, ge=1, le=64)
    agent_url_allow: tuple[str, ...] = ()
    recordings_dir: Path | None = None
    recording_days: int = Field(default=30, ge=0)
    recording_format: str = Field(default="wav", pattern="^(wav|ogg)$")
    public_url: str | None = None
    metrics_token: SecretStr | None = None
    otel_endpoint: str | None = None
    talkover_signature_header: str = Field(default="X-TalkOver-Signature", pattern="^[A-Za-z0-9-]{1,64}$")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")

    @field_validator("http_bind", "sip_bind")
    @classmethod
    def _is_host_and_port(cls, value: str | None) -> str | None:
        if value is not None:
            split_bind(value)
        return value

    @field_validator("dial_allow", "inbound_allow", "agent_url_allow", mode="before")
    @classmethod
    def _is_list(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError('a list is written as JSON, such as ["+1", "+44"]') from error

    @field_validator("trunk_uri")
    @classmethod
    def _is_sip_uri(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("sip:"):
            raise ValueError("must look like sip:host:port;transport=udp")
        return value

    @field_validator("inbound_allow")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for entry in value:
            ipaddress.ip_network(entry)  # A ValueError of its own says what is wrong.
        return value

    @field_validator("agent_url_allow")
    @classmethod
    def _are_bot_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if value:
            from onhook.agents.bot_urls import check_allowed  # noqa: PLC0415 (the supervisor stays light)

            for entry in value:
                try:
                    check_allowed(entry)
                except DefinitionError as error:
                    raise ValueError(f"{entry}: {error}") from error
        return value

    @field_validator("public_url", "otel_endpoint")
    @classmethod
    def _is_http_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if re.fullmatch(r"https?://[^\s/?#]+(/[^\s?#]*)?", value) is None:
            raise ValueError("must look like https://onhook.example.com")
        return value.rstrip("/")

    @field_validator("otel_endpoint")
    @classmethod
    def _has_otel(cls, value: str | None) -> str | None:
        if value is not None and not _is_installed("opentelemetry.exporter.otlp.proto.http"):
            raise ValueError("traces need `pip install onhook[otel]`")
        return value

    @field_validator("database_url")
    @classmethod
    def _is_sqlite(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith("sqlite:///"):
            raise ValueError("must look like sqlite:///path/to/onhook.db; other databases are not supported yet")
        return value

    @model_validator(mode="after")
    def _has_whole_inbound_account(self) -> Self:
        if (self.trunk_inbound_username is None) is not (self.trunk_inbound_password is None):
            raise ValueError("trunk_inbound_username and trunk_inbound_password: give both, or neither")
        return self

    @model_validator(mode="after")
    def _has_whole_port_range(self) -> Self:
        if (self.rtp_port_min or self.rtp_port_max) and not 0 < self.rtp_port_min < self.rtp_port_max:
            raise ValueError("rtp_port_min and rtp_port_max: give both, the lower first, or neither")
        return self

    @property
    def database_path(self) -> Path:
        """Where the SQLite file lives."""
        if self.database_url is not None:
            return Path(self.database_url.removeprefix("sqlite:///"))
        return self.data_dir / "onhook.db"

    @property
    def recordings_path(self) -> Path:
        """Where recordings are kept."""
        return self.recordings_dir or self.data_dir / "recordings"

    @property
    def audit_path(self) -> Path:
        """Where the audit log's checkpoints are kept."""
        return self.data_dir / "audit"

    @property
    def http_address(self) -> tuple[str, int]:
        """Host and port of the HTTP server."""
        return split_bind(self.http_bind)

    @property
    def sip_address(self) -> tuple[str, int]:
        """Host and port of the SIP engine: all interfaces once a trunk is set, else loopback."""
        if self.sip_bind is not None:
            return split_bind(self.sip_bind)
        return ("0.0.0.0" if self.trunk_uri else "127.0.0.1", 5060)

    @property
    def rtp_ports(self) -> tuple[int, int] | None:
        """The range of RTP ports, or None for any free port."""
        return (self.rtp_port_min, self.rtp_port_max) if self.rtp_port_max else None


def _is_installed(module: str) -> bool:
    """Say whether a module could be imported; only the packages it is in are."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def split_bind(value: str) -> tuple[str, int]:
    """Split `host:port`. Raises `ValueError`."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ValueError("must look like host:port")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Say whether a server that listens on `host` is reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def http_url(host: str, port: int) -> str:
    """Return the URL of an HTTP server."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def load_settings(config: Path | None = None, **overrides: Any) -> Settings:
    """Read the environment over the TOML file `config`; `overrides` win over both.

    Raises `SettingsError` for an unreadable file, an unknown key or a bad value.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**((_read_toml(config) if config else {}) | _read_environment() | given))
    except ValidationError as error:
        raise SettingsError("; ".join(_words(one) for one in error.errors())) from error


def _words(error: ErrorDetails) -> str:
    """Say which key is wrong, and why."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such setting"
    text = error["msg"].removeprefix("Value error, ")
    return f"{key}: {text}" if key else text


def _read_environment() -> dict[str, str]:
    """Return the settings that the environment holds. Raises `SettingsError` for an unknown one."""
    names = {name for name in os.environ if name.startswith(PREFIX)} - NOT_SETTINGS
    keys = {name: name.removeprefix(PREFIX).lower() for name in names}
    unknown = [name for name, key in keys.items() if key not in Settings.model_fields]
    if unknown:
        raise SettingsError(f"unknown setting in the environment: {', '.join(sorted(unknown))}")
    return {key: os.environ[name] for name, key in keys.items()}


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"{path}: {error}") from error
