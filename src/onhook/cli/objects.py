"""`onhook keys|agents|numbers|trunks`: the configuration objects, kept in the store."""

import re
import uuid
from enum import StrEnum
from pathlib import Path

import msgspec
import typer

from onhook.agents.definition import AgentKind, DefinitionError
from onhook.calls.call import Dialect, new_agent_id
from onhook.cli.common import (
    ConfigOption,
    DataOption,
    clock,
    fail,
    moment,
    operator,
    secret_box,
    settings_or_exit,
    with_store,
)
from onhook.cli.environments import EnvironmentOption, in_environment
from onhook.provision import CONFIGURED_TRUNK, create_key, ensure_trunk
from onhook.settings import Settings
from onhook.store.scopes import Scope
from onhook.store.secrets import TokenPrefix
from onhook.store.store import Agent, ApiKey, ConflictError, Number, R, Store, TrunkRecord

keys = typer.Typer(help="API keys.", no_args_is_help=True)
agents = typer.Typer(help="Voice agents.", no_args_is_help=True)
numbers = typer.Typer(help="Phone numbers to call from.", no_args_is_help=True)
trunks = typer.Typer(help="SIP trunks.", no_args_is_help=True)

TRUNK_URI = re.compile(r"sip:[A-Za-z0-9.\[\]:-]+(;transport=(udp|tcp))?")


class NumberFormat(StrEnum):
    """How a trunk wants numbers: `+12025550100`, `12025550100`, or as the country writes them, digits only."""

    E164 = "e164"
    PLAIN = "plain"
    NATIONAL = "national"


@keys.command("create")
def create(
    name: str = typer.Option("key", help="What the key is for."),
    talkover: bool = typer.Option(False, "--talkover", help="Begin the token with talq_ instead of key_."),
    signs: bool = typer.Option(
        False, "--signs", help="Keep it, encrypted, to sign Retell's webhooks and calls to bots."
    ),
    scope: list[Scope] = typer.Option(
        [], "--scope", help="What it may do; give it once for each. Default: everything.", show_default=False
    ),
    environment: str = EnvironmentOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Create a key and print its token, alone on a line. It cannot be shown again."""
    settings = settings_or_exit(config, data)
    box = secret_box(settings) if signs else None

    async def work(store: Store) -> str:
        prefix: TokenPrefix = "talq_" if talkover else "key_"
        scopes = tuple(sorted(set(scope)))
        _, token = await create_key(store, clock, environment, name, prefix, box, scopes, operator())
        return token

    typer.echo(in_environment(settings, environment, work))


@keys.command("list")
def list_keys(
    environment: str = EnvironmentOption, data: Path | None = DataOption, config: Path | None = ConfigOption
) -> None:
    """List the keys; tokens are not kept."""
    found = _found(ApiKey, environment, settings_or_exit(config, data))
    for key in found:
        scopes = f"  only {' '.join(key.scopes)}" if key.scopes else ""
        state = f"revoked {moment(key.revoked_at)}" if key.revoked_at else f"created {moment(key.created_at)}"
        typer.echo(f"{key.id}  ...{key.last4}  {state}  {key.name}{scopes}")


@keys.command("revoke")
def revoke(
    key_id: str = typer.Argument(help="Its id, from `onhook keys list`."),
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Revoke a key; a running server refuses it from now on."""

    async def work(store: Store) -> bool:
        key = await store.get(ApiKey, key_id, None)
        if key is not None and key.revoked_at is None:
            await store.put(msgspec.structs.replace(key, revoked_at=clock.now_ms(), secret=None), operator())
        return key is not None

    if not with_store(settings_or_exit(config, data), work):
        fail(f"no key {key_id}; `onhook keys list` names them")


@agents.command("create")
def create_agent(
    name: str = typer.Argument(help="What to call it."),
    kind: AgentKind | None = typer.Option(None, help="What speaks on the call. Default: the setting agent_kind."),
    message: str | None = typer.Option(None, help="What it says first."),
    prompt: str | None = typer.Option(None, help="How a model is to behave (openai_realtime, chain)."),
    script: Path | None = typer.Option(None, help="A YAML file with what a scripted agent says and expects."),
    bot: str | None = typer.Option(None, help="Where the bot of a websocket agent is, such as wss://host/path."),
    language: str | None = typer.Option(None, help="Such as en-US, es-ES or pt-BR."),
    record: bool = typer.Option(False, "--record", help="Record its calls."),
    environment: str = EnvironmentOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Create a published agent and print its id."""
    settings = settings_or_exit(config, data)
    given: dict[str, object] = {
        "initial_message": message,
        "prompt": prompt,
        "script": _yaml(script) if script is not None else None,
        "url": bot,
        "language": language,
        "record": record or None,
    }
    now = clock.now_ms()
    agent = Agent(
        id=new_agent_id(Dialect.TALKOVER),
        environment_id=environment,
        dialect=Dialect.TALKOVER,
        name=name,
        label=name,
        created_at=now,
        updated_at=now,
        published=True,
        kind=(kind or settings.agent_kind).value,
        settings={key: value for key, value in given.items() if value is not None},
    )
    _check_agent(agent, settings)

    async def work(store: Store) -> None:
        await store.put(agent, operator())

    in_environment(settings, environment, work)
    typer.echo(agent.id)


@agents.command("list")
def list_agents(
    environment: str = EnvironmentOption, data: Path | None = DataOption, config: Path | None = ConfigOption
) -> None:
    """List the agents."""
    for agent in _found(Agent, environment, settings_or_exit(config, data)):
        typer.echo(f"{agent.id}  {'published' if agent.published else 'draft':9}  {agent.kind:15}  {agent.name}")


@trunks.command("add")
def add_trunk(
    name: str = typer.Argument(help="What to call it."),
    uri: str = typer.Argument(help="sip:host:port;transport=udp (or tcp)."),
    username: str | None = typer.Option(None, help="User name for digest authentication."),
    password: str | None = typer.Option(None, envvar="ONHOOK_TRUNK_PASSWORD", help="Its password; kept encrypted."),
    from_user: str | None = typer.Option(None, help="User part of From, when it is not the number."),
    from_domain: str | None = typer.Option(None, help="Host part of From."),
    number_format: NumberFormat = typer.Option(NumberFormat.E164, help="How numbers are written in SIP."),
    identity: bool = typer.Option(False, "--identity", help="Send P-Asserted-Identity."),
    inbound_username: str | None = typer.Option(None, help="User name that calls from this trunk must prove to know."),
    inbound_password: str | None = typer.Option(
        None, envvar="ONHOOK_INBOUND_PASSWORD", help="Its password; kept encrypted."
    ),
    environment: str = EnvironmentOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Add a trunk and print its id."""
    settings = settings_or_exit(config, data)
    if TRUNK_URI.fullmatch(uri) is None:
        fail(f"the URI must look like sip:host:port;transport=udp (or tcp), not {uri}")
    if (inbound_username is None) is not (inbound_password is None):
        fail("--inbound-username and --inbound-password go together")
    box = secret_box(settings)
    trunk = TrunkRecord(
        id=f"trunk_{uuid.uuid4().hex[:12]}",
        environment_id=environment,
        name=name,
        uri=uri,
        created_at=clock.now_ms(),
        username=username,
        password=box.encrypt(password) if password else None,
        from_user=from_user,
        from_domain=from_domain,
        number_format=number_format.value,
        identity=identity,
        inbound_username=inbound_username,
        inbound_password=box.encrypt(inbound_password) if inbound_password is not None else None,
    )

    async def work(store: Store) -> None:
        await store.put(trunk, operator())

    in_environment(settings, environment, work)
    typer.echo(trunk.id)


@trunks.command("list")
def list_trunks(
    environment: str = EnvironmentOption, data: Path | None = DataOption, config: Path | None = ConfigOption
) -> None:
    """List the trunks."""
    for trunk in _found(TrunkRecord, environment, settings_or_exit(config, data)):
        typer.echo(f"{trunk.id}  {trunk.uri}  {trunk.name}")


@numbers.command("add")
def add_number(
    number: str = typer.Argument(help="The number, such as +12025550100."),
    trunk: str = typer.Option(
        CONFIGURED_TRUNK, help="Id of its trunk; without one, that of ONHOOK_TRUNK_URI, in the default environment."
    ),
    agent: str | None = typer.Option(None, help="Id of the agent that calls from it."),
    inbound_agent: str | None = typer.Option(None, help="Id of the agent that takes its calls."),
    environment: str = EnvironmentOption,
    data: Path | None = DataOption,
    config: Path | None = ConfigOption,
) -> None:
    """Add a number (E.164) and print its id."""
    value = _e164(number)

    settings = settings_or_exit(config, data)
    box = secret_box(settings)

    async def work(store: Store) -> str:
        await ensure_trunk(store, settings, box, clock)
        if await store.get(TrunkRecord, trunk, environment) is None:
            return f"no trunk {trunk} in {environment}; name one with --trunk, or set ONHOOK_TRUNK_URI for default"
        for used in (agent, inbound_agent):
            if used is not None and await store.get(Agent, used, environment) is None:
                return f"no agent {used}; `onhook agents list` names them"
        record = Number(number_id, environment, value, trunk, clock.now_ms(), agent, inbound_agent)
        try:
            await store.put(record, operator())
        except ConflictError:
            return f"{value} is there already"
        return ""

    number_id = f"number_{uuid.uuid4().hex[:12]}"
    refusal = in_environment(settings, environment, work)
    if refusal:
        fail(refusal)
    typer.echo(number_id)


@numbers.command("list")
def list_numbers(
    environment: str = EnvironmentOption, data: Path | None = DataOption, config: Path | None = ConfigOption
) -> None:
    """List the numbers."""
    for number in _found(Number, environment, settings_or_exit(config, data)):
        agents = f"agent {number.agent_id or '-'}"
        agents += f"  inbound agent {number.inbound_agent_id}" if number.inbound_agent_id else ""
        typer.echo(f"{number.id}  {number.number}  trunk {number.trunk_id}  {agents}")


def _found(kind: type[R], environment: str, settings: Settings) -> list[R]:
    """Return all of a kind that an environment has, newest first, or leave."""
    return in_environment(settings, environment, lambda store: store.find(kind, environment))


def _check_agent(agent: Agent, settings: Settings) -> None:
    """Leave, unless an agent can be put on a call. Whether this machine may host a bot shows only at a call."""
    from onhook.agents.reading import BotUrls, definition_of  # noqa: PLC0415 (the supervisor stays light)

    try:
        definition_of(agent, None, BotUrls(settings.agent_url_allow, allow_private=True))
    except DefinitionError as error:
        fail(f"the agent cannot be put on a call: {error}")


def _yaml(path: Path) -> object:
    """Return what a YAML file holds, or leave."""
    import yaml  # noqa: PLC0415 (the supervisor stays light)

    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        fail(f"{path} is not YAML: {error}")


def _e164(number: str) -> str:
    """Return a number in E.164, or leave."""
    import phonenumbers  # noqa: PLC0415 (the supervisor stays light)

    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        parsed = None
    if parsed is None or not phonenumbers.is_possible_number(parsed):
        fail(f"the number must be in international format, such as +12025550100, not {number}")
    text: str = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
    return text
