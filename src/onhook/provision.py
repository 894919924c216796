"""The objects a server brings along: the default environment, the configured trunk, the sandbox's set."""

import os
import uuid
from pathlib import Path

import msgspec

from onhook.agents.definition import LINE_KINDS, AgentKind
from onhook.calls.call import Dialect, new_agent_id
from onhook.clock import Clock
from onhook.settings import Settings
from onhook.store.audit import Act
from onhook.store.scopes import Scope
from onhook.store.secrets import SecretBox, TokenPrefix, hash_token, new_token
from onhook.store.store import Agent, ApiKey, Environment, Number, Store, TrunkRecord

DEFAULT_ENVIRONMENT = "default"
CONFIGURED_TRUNK = "trunk_configured"
SANDBOX_TRUNK = "trunk_sandbox"
SANDBOX_NUMBER = "+12025550100"
SANDBOX_USERNAME = "onhook"
SANDBOX_PASSWORD = "sandbox"  # noqa: S105 (what the sandbox carrier asks for; guards nothing)


class SandboxFile(msgspec.Struct, frozen=True):
    """What `serve --sandbox` writes to `sandbox.json` for whoever wants to call the API."""

    base_url: str
    token: str
    agent_id: str
    from_number: str


async def ensure_environment(store: Store, clock: Clock) -> Environment:
    """Return the default environment, created on the first start."""
    found = await store.get(Environment, DEFAULT_ENVIRONMENT, None)
    if found is None:
        found = Environment(DEFAULT_ENVIRONMENT, "Default", clock.now_ms())
        await store.put(found)
    return found


async def ensure_trunk(store: Store, settings: Settings, secrets: SecretBox, clock: Clock) -> None:
    """Write the trunk of the settings into the default environment, so that numbers can be bound to it."""
    if settings.trunk_uri is None:
        return
    password, inbound_password = settings.trunk_password, settings.trunk_inbound_password
    await store.put(
        TrunkRecord(
            id=CONFIGURED_TRUNK,
            environment_id=DEFAULT_ENVIRONMENT,
            name="Configured trunk",
            uri=settings.trunk_uri,
            created_at=clock.now_ms(),
            username=settings.trunk_username,
            password=secrets.encrypt(password.get_secret_value()) if password else None,
            inbound_username=settings.trunk_inbound_username,
            inbound_password=secrets.encrypt(inbound_password.get_secret_value()) if inbound_password else None,
        )
    )


async def create_key(
    store: Store,
    clock: Clock,
    environment_id: str,
    name: str,
    prefix: TokenPrefix = "key_",
    kept_in: SecretBox | None = None,
    scopes: tuple[Scope, ...] = (),
    by: Act | None = None,
) -> tuple[ApiKey, str]:
    """Store a new key and return it with its token, which cannot be shown again.

    It is not kept, unless there is a box to keep it in: then it can sign. Without `scopes` it may do everything.
    """
    token = new_token(prefix)
    key = ApiKey(
        id=f"key_{uuid.uuid4().hex[:12]}",
        environment_id=environment_id,
        name=name,
        token_sha256=hash_token(token),
        last4=token[-4:],
        created_at=clock.now_ms(),
        secret=kept_in.encrypt(token) if kept_in is not None else None,
        scopes=scopes,
    )
    await store.put(key, by)
    return key, token


async def ensure_sandbox(
    store: Store,
    secrets: SecretBox,
    clock: Clock,
    data_dir: Path,
    base_url: str,
    carrier_uri: str,
    agent_kind: AgentKind = AgentKind.SCRIPTED,
) -> SandboxFile:
    """Make sure that the sandbox has a trunk, a published agent, a number and a key; write `sandbox.json`.

    The token of an earlier start is kept while its key is still good, and its agent as it is.
    """
    now = clock.now_ms()
    await store.put(
        TrunkRecord(
            id=SANDBOX_TRUNK,
            environment_id=DEFAULT_ENVIRONMENT,
            name="Sandbox carrier",
            uri=carrier_uri,
            created_at=now,
            username=SANDBOX_USERNAME,
            password=secrets.encrypt(SANDBOX_PASSWORD),
        )
    )
    number = await store.number_by_value(DEFAULT_ENVIRONMENT, SANDBOX_NUMBER)
    agent_id = number.agent_id if number and number.agent_id else None
    if agent_id is None:
        agent_id = await _create_sandbox_agent(store, now, agent_kind)
        number = Number("number_sandbox", DEFAULT_ENVIRONMENT, SANDBOX_NUMBER, SANDBOX_TRUNK, now, agent_id, agent_id)
        await store.put(number)
    token = await _sandbox_token(store, clock, data_dir)
    sandbox = SandboxFile(base_url, token, agent_id, SANDBOX_NUMBER)
    _write_private(sandbox_path(data_dir), msgspec.json.format(msgspec.json.encode(sandbox)))
    return sandbox


def sandbox_path(data_dir: Path) -> Path:
    """Return where `sandbox.json` lives."""
    return data_dir / "sandbox.json"


def read_sandbox(data_dir: Path) -> SandboxFile | None:
    """Return the sandbox's file, or None while there is none."""
    try:
        return msgspec.json.decode(sandbox_path(data_dir).read_bytes(), type=SandboxFile)
    except (OSError, msgspec.DecodeError):
        return None


async def _create_sandbox_agent(store: Store, now: int, kind: AgentKind) -> str:
    agent = Agent(
        id=new_agent_id(Dialect.TALKOVER),
        environment_id=DEFAULT_ENVIRONMENT,
        dialect=Dialect.TALKOVER,
        name="Ada",
        label="Sandbox agent",
        created_at=now,
        updated_at=now,
        published=True,
        kind=kind.value,
        settings={} if kind in LINE_KINDS else {"enable_recording": True},  # nobody converses with the others
    )
    await store.put(agent)
    return agent.id


async def _sandbox_token(store: Store, clock: Clock, data_dir: Path) -> str:
    """Return the token of an earlier start while its key is good, else a new one."""
    earlier = read_sandbox(data_dir)
    if earlier is not None and await store.key_by_hash(hash_token(earlier.token)) is not None:
        return earlier.token
    _, token = await create_key(store, clock, DEFAULT_ENVIRONMENT, "sandbox")
    return token


def _write_private(path: Path, content: bytes) -> None:
    """Write a file that only we can read, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
