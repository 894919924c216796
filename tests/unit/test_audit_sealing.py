"""Sealing the audit log: the chain, its checkpoints, and what a crash or a second sealer leaves behind."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from onhook.audit.chain import GENESIS, seal_hash, seals_of
from onhook.audit.heads import Head, Heads, HeadsError
from onhook.audit.sealer import BATCH, Sealer
from onhook.audit.verify import Kind, verify
from onhook.store.audit import AuditEntry, AuditSeal
from onhook.store.store import ConflictError, Environment, StoreError
from onhook.testing.clock import ManualClock
from onhook.testing.store import MemoryStore

pytestmark = pytest.mark.unit

ENV = "env_1"
ENTRY = AuditEntry(
    ENV, 1_800_000_000_000, "api_key:key_1", "agent.update", "agent_1", "why", "req_1", {"b": 1, "a": 2}, 7
)


class World:
    """A store with an environment, a directory for checkpoints, and a sealer of both."""

    def __init__(self, directory: Path, store: MemoryStore | None = None) -> None:
        self.store = store or MemoryStore()
        self.heads = Heads(directory)
        self.clock = ManualClock()
        self.sealer = Sealer(self.store, self.heads, self.clock)

    def restarted(self) -> Sealer:
        """Return the sealer of a later life."""
        self.sealer = Sealer(self.store, self.heads, self.clock)
        return self.sealer

    async def note(self, count: int, environment_id: str = ENV) -> None:
        for number in range(count):
            await self.store.audit(AuditEntry(environment_id, self.clock.now_ms(), "operator", "act", f"t_{number}"))

    async def kinds(self, environment_id: str = ENV) -> list[Kind]:
        return [one.kind for one in (await verify(self.store, self.heads, environment_id)).findings]


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path / "audit")
    await made.store.put(Environment(ENV, ENV, 0))
    return made


# --- the chain


def test_a_seal_is_the_sha256_of_the_entry_in_its_place_written_out_like_this() -> None:
    # Another form would make every log that there is look tampered with.
    text = (
        f'["onhook-audit-1","env_1",1,"{GENESIS}",7,1800000000000,'
        '"api_key:key_1","agent.update","agent_1","why","req_1",{"a":2,"b":1}]'
    )
    assert seal_hash(ENTRY, 1, GENESIS) == hashlib.sha256(text.encode()).hexdigest()


def test_the_order_of_names_in_an_entrys_data_does_not_matter() -> None:
    swapped = msgspec.structs.replace(ENTRY, data={"a": 2, "b": 1})
    assert seal_hash(swapped, 1, GENESIS) == seal_hash(ENTRY, 1, GENESIS)


@pytest.mark.parametrize(
    "change",
    [
        {"environment_id": "env_2"},
        {"at": 1},
        {"actor": "operator"},
        {"action": "agent.delete"},
        {"target": "agent_2"},
        {"reason": None},
        {"request_id": "req_2"},
        {"data": {}},
        {"seq": 8},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_an_entry_is_in_its_hash(change: dict[str, object]) -> None:
    assert seal_hash(msgspec.structs.replace(ENTRY, **change), 1, GENESIS) != seal_hash(ENTRY, 1, GENESIS)


def test_the_number_and_the_seal_before_are_in_the_hash() -> None:
    assert len({seal_hash(ENTRY, 1, GENESIS), seal_hash(ENTRY, 2, GENESIS), seal_hash(ENTRY, 1, "f" * 64)}) == 3


def test_seals_go_on_where_the_last_one_was() -> None:
    entries = [msgspec.structs.replace(ENTRY, seq=seq) for seq in (3, 5, 6)]
    first, *_ = whole = list(seals_of(entries, None))
    assert [(seal.number, seal.seq) for seal in whole] == [(1, 3), (2, 5), (3, 6)]
    assert list(seals_of(entries[1:], first)) == whole[1:]


# --- checkpoints


SEAL = AuditSeal(ENV, 4, 9, "ab" * 32)


def test_a_checkpoint_is_read_back_and_earlier_ones_stay_in_the_history(tmp_path: Path) -> None:
    heads = Heads(tmp_path / "audit")
    assert (heads.newest(ENV), heads.history(ENV), heads.environments()) == (None, [], [])
    first, second = heads.add(ENV, None, 1000), heads.add(ENV, SEAL, 2000)
    assert first == Head(0, 0, GENESIS, 1000)
    assert second == Head(4, 9, SEAL.hash, 2000)
    assert heads.newest(ENV) == second
    assert heads.history(ENV) == [first, second]


def test_checkpoints_of_environments_with_any_name_are_apart(tmp_path: Path) -> None:
    heads = Heads(tmp_path)
    names = ["../up", "a.b", "a", "a.heads", "Ünï"]
    for name in names:
        heads.add(name, None, 0)
    assert heads.environments() == sorted(names)
    assert {path.parent for path in tmp_path.rglob("*")} == {tmp_path}


def test_checkpoints_are_for_their_owner_alone(tmp_path: Path) -> None:
    Heads(tmp_path / "audit").add(ENV, SEAL, 0)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "audit").iterdir()}
    assert modes == {0o600}


def test_a_line_that_a_crash_has_cut_is_no_checkpoint_and_the_next_takes_its_place(tmp_path: Path) -> None:
    heads = Heads(tmp_path)
    whole = heads.add(ENV, SEAL, 1000)
    with (tmp_path / f"{ENV}.heads").open("ab") as file:
        file.write(b'{"number":5,"se')
    assert heads.history(ENV) == [whole]
    following = heads.add(ENV, msgspec.structs.replace(SEAL, number=5), 2000)
    assert heads.history(ENV) == [whole, following]


@pytest.mark.parametrize("name", ["head", "heads"])
@pytest.mark.parametrize("content", [b"nonsense\n", b'{"number":1}\n', b"\xff\n"])
def test_what_is_no_checkpoint_is_said_to_be_none(tmp_path: Path, name: str, content: bytes) -> None:
    heads = Heads(tmp_path)
    heads.add(ENV, SEAL, 1000)
    (tmp_path / f"{ENV}.{name}").write_bytes(content)
    with pytest.raises(HeadsError, match=f"{ENV}.{name}"):
        (heads.newest if name == "head" else heads.history)(ENV)


# --- sealing


async def test_a_new_environment_has_a_checkpoint_before_its_first_entry(world: World) -> None:
    await world.sealer.seal()
    assert world.heads.newest(ENV) == Head(0, 0, GENESIS, world.clock.now_ms())
    assert await world.kinds() == []


async def test_all_that_waits_is_sealed_in_one_round_however_much_it_is(world: World) -> None:
    await world.note(2 * BATCH + 5)
    await world.sealer.seal()
    last = await world.store.last_seal(ENV)
    assert last is not None
    assert last.number == 2 * BATCH + 5
    assert await world.store.unsealed_audit(ENV) == []
    assert world.heads.newest(ENV) == Head(last.number, last.seq, last.hash, world.clock.now_ms())
    assert await world.kinds() == []


async def test_environments_have_chains_of_their_own(world: World) -> None:
    await world.store.put(Environment("env_2", "env_2", 0))
    for environment_id in (ENV, "env_2", ENV):
        await world.note(2, environment_id)
    await world.sealer.seal()
    assert [seal.number for seal in await world.store.audit_seals("env_2")] == [1, 2]
    assert [seal.seq for seal in await world.store.audit_seals(ENV)] == [1, 2, 5, 6]
    assert await world.kinds() == await world.kinds("env_2") == []


async def test_a_round_with_nothing_new_writes_nothing(world: World) -> None:
    await world.note(1)
    await world.sealer.seal()
    before = world.heads.history(ENV)
    world.clock.advance(60)
    world.store.fail_writes = True
    await world.sealer.seal()
    assert world.heads.history(ENV) == before


async def test_a_crash_between_seal_and_checkpoint_is_no_alarm_and_the_next_life_catches_up(world: World) -> None:
    await world.note(2)
    await world.sealer.seal()
    await world.note(3)
    entries = await world.store.unsealed_audit(ENV)
    await world.store.seal_audit(list(seals_of(entries, await world.store.last_seal(ENV))))  # and then no checkpoint
    assert await world.kinds() == []
    await world.restarted().seal()
    newest = world.heads.newest(ENV)
    assert newest is not None
    assert newest.number == 5
    assert await world.kinds() == []


async def test_a_crash_between_the_history_and_the_newest_checkpoint_is_no_alarm(world: World) -> None:
    await world.note(1)
    await world.sealer.seal()
    path = world.heads._directory / f"{ENV}.head"
    earlier = path.read_bytes()
    await world.note(1)
    await world.sealer.seal()
    path.write_bytes(earlier)
    assert await world.kinds() == []
    await world.restarted().seal()
    newest = world.heads.newest(ENV)
    assert newest is not None
    assert newest.number == 2
    assert await world.kinds() == []


class Rival(MemoryStore):
    """Another process seals right before this one does, once."""

    armed = True

    async def seal_audit(self, seals: Sequence[AuditSeal]) -> None:
        if self.armed:
            self.armed = False
            await super().seal_audit(seals)
            raise ConflictError("sealed already")
        await super().seal_audit(seals)


async def test_a_second_sealer_loses_the_race_and_goes_on_after_the_first(tmp_path: Path) -> None:
    world = World(tmp_path, Rival())
    await world.store.put(Environment(ENV, ENV, 0))
    await world.note(2)
    await world.sealer.seal()
    await world.note(1)
    await world.sealer.seal()
    assert [seal.number for seal in await world.store.audit_seals(ENV)] == [1, 2, 3]
    assert await world.kinds() == []


async def test_a_store_or_a_disk_that_is_away_is_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await world.note(1)
    world.store.fail_writes = True
    with pytest.raises(StoreError):
        await world.sealer.seal()
    await world.sealer.seal_safely()
    world.store.fail_writes = False

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", full)
        await world.sealer.seal_safely()
    assert caplog.text.count("the next round tries again") == 2
    await world.sealer.seal()
    newest = world.heads.newest(ENV)
    assert newest is not None
    assert newest.number == 1
    assert await world.kinds() == []


async def test_a_log_that_is_behind_its_checkpoint_is_told_once_and_its_checkpoint_stays(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.note(5)
    await world.sealer.seal()
    before = world.heads.history(ENV)
    del world.store._audit[3:], world.store._seals[3:]
    await world.note(4)
    for _ in range(3):
        await world.restarted().seal()
    await world.note(1)
    await world.sealer.seal()
    assert caplog.text.count("run `onhook audit verify`") == 3  # once in each life
    assert world.heads.history(ENV) == before
    assert [seal.number for seal in await world.store.audit_seals(ENV)] == list(range(1, 9))
    assert await world.kinds() == [Kind.REWRITTEN]


async def test_a_log_that_is_cut_while_the_sealer_runs_is_noticed_by_it(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.note(5)
    await world.sealer.seal()
    del world.store._audit[3:], world.store._seals[3:]
    await world.note(1)
    await world.sealer.seal()
    assert "entry 5 is not what the checkpoint says" in caplog.text
    assert await world.kinds() == [Kind.TRUNCATED]


async def test_an_unreadable_checkpoint_is_told_and_not_written_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    await world.note(1)
    await world.sealer.seal()
    path = world.heads._directory / f"{ENV}.head"
    path.write_bytes(b"nonsense")
    await world.note(1)
    await world.restarted().seal()
    assert "holds a line that is no checkpoint" in caplog.text
    assert path.read_bytes() == b"nonsense"
    assert await world.store.unsealed_audit(ENV) == []
    assert await world.kinds() == [Kind.CHECKPOINT]
