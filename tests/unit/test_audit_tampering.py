"""Whatever is done to the audit log in its database file is found, and told with the entry it was done to."""

import asyncio
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from typer.testing import CliRunner

from onhook.audit.chain import seals_of
from onhook.audit.heads import Heads
from onhook.audit.sealer import Sealer
from onhook.audit.verify import MAX_FINDINGS, MAX_SUSPECTS, Kind, Report, verify
from onhook.cli import app
from onhook.clock import SystemClock
from onhook.provision import DEFAULT_ENVIRONMENT as ENV
from onhook.provision import ensure_environment
from onhook.store.audit import AuditEntry
from onhook.store.sqlite import SqliteStore

pytestmark = pytest.mark.unit

ENTRIES = 12


class World:
    """A data directory as a server leaves it."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.database = data / "onhook.db"
        self.heads = Heads(data / "audit")

    async def live(self, entries: int) -> None:
        """Have a server live in it that writes some entries, and seals them."""
        store = SqliteStore(self.database)
        await store.open()
        await ensure_environment(store, SystemClock())
        for number in range(entries):
            entry = AuditEntry(ENV, 1000 + number, "api_key:key_1", "call.stop", f"call_{number}", "why", "req_1")
            await store.audit(entry)
        await Sealer(store, self.heads, SystemClock()).seal()
        await store.close()

    async def report(self) -> Report:
        store = SqliteStore(self.database)
        await store.open()
        try:
            return await verify(store, self.heads, ENV)
        finally:
            await store.close()

    async def found(self) -> list[tuple[Kind, int | None]]:
        return [(one.kind, one.seq) for one in (await self.report()).findings]

    @contextmanager
    def edited(self) -> Iterator[sqlite3.Connection]:
        """Yield the database as somebody edits it."""
        with closing(sqlite3.connect(self.database)) as db:
            yield db
            db.commit()

    def edit(self, *statements: str) -> None:
        with self.edited() as db:
            for statement in statements:
                db.execute(statement)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path / "data")
    made.data.mkdir()
    await made.live(ENTRIES)
    assert (await made.report()).intact
    return made


SWAPPED: tuple[str, ...] = (
    "UPDATE audit SET seq = -1 WHERE seq = 4",
    "UPDATE audit SET seq = 4 WHERE seq = 9",
    "UPDATE audit SET seq = 9 WHERE seq = -1",
)
DELETED_AND_CLOSED_UP: tuple[str, ...] = (
    "DELETE FROM audit WHERE seq = 5",
    *(f"UPDATE audit SET seq = {seq - 1} WHERE seq = {seq}" for seq in range(6, ENTRIES + 1)),
)
TAIL: tuple[str, ...] = ("DELETE FROM audit WHERE seq > 8",)
TAIL_AND_SEALS: tuple[str, ...] = (*TAIL, "DELETE FROM audit_seals WHERE seq > 8")

TAMPERINGS: dict[str, tuple[Sequence[str], Sequence[tuple[Kind, int | None]]]] = {
    "another target": (("UPDATE audit SET target = 'call_x' WHERE seq = 3",), [(Kind.EDITED, 3)]),
    "another actor": (("UPDATE audit SET actor = 'operator' WHERE seq = 1",), [(Kind.EDITED, 1)]),
    "another time": (("UPDATE audit SET at = at + 1 WHERE seq = 12",), [(Kind.EDITED, 12)]),
    "no reason": (("UPDATE audit SET reason = NULL WHERE seq = 7",), [(Kind.EDITED, 7)]),
    "other data": (("UPDATE audit SET data = '{\"a\":1}' WHERE seq = 2",), [(Kind.EDITED, 2)]),
    "data that is no JSON": (("UPDATE audit SET data = '{' WHERE seq = 2",), [(Kind.EDITED, 2)]),
    "data that is no object": (("UPDATE audit SET data = '[]' WHERE seq = 2",), [(Kind.EDITED, 2)]),
    "two edits": (
        ("UPDATE audit SET actor = 'x' WHERE seq IN (3, 6)",),
        [(Kind.EDITED, 3), (Kind.EDITED, 6)],
    ),
    "another seal": (
        (f"UPDATE audit_seals SET hash = '{'0' * 64}' WHERE seq = 6",),
        [(Kind.EDITED, 6), (Kind.EDITED, 7)],
    ),
    "the first is gone": (("DELETE FROM audit WHERE seq = 1",), [(Kind.DELETED, 1)]),
    "one is gone": (("DELETE FROM audit WHERE seq = 5",), [(Kind.DELETED, 5)]),
    "one is gone and the others moved up": (
        DELETED_AND_CLOSED_UP,
        [(Kind.EDITED, 5), *((Kind.MOVED, seq) for seq in range(6, ENTRIES)), (Kind.DELETED, ENTRIES)],
    ),
    "one is gone with its seal": (
        ("DELETE FROM audit WHERE seq = 5", "DELETE FROM audit_seals WHERE seq = 5"),
        [(Kind.UNSEALED, None)],
    ),
    "one is another environment's now": (
        ("UPDATE audit SET environment_id = 'env_2' WHERE seq = 5",),
        [(Kind.DELETED, 5)],
    ),
    "two have changed places": (SWAPPED, [(Kind.MOVED, 4), (Kind.MOVED, 9)]),
    "one was put in between": (
        (
            "DELETE FROM audit WHERE seq = 5",
            "UPDATE audit_seals SET seq = 4000 WHERE seq = 5",
            "INSERT INTO audit SELECT 5, environment_id, at, 'x', action, target, reason, request_id, data"
            " FROM audit WHERE seq = 6",
        ),
        [(Kind.INSERTED, seq) for seq in range(5, 13)]
        + [(Kind.DELETED, seq) for seq in range(6, 13)]
        + [(Kind.DELETED, 4000)],
    ),
    "the end is gone": (TAIL, [(Kind.DELETED, seq) for seq in range(9, 13)]),
    "the end is gone with its seals": (TAIL_AND_SEALS, [(Kind.TRUNCATED, 12)]),
    "all is gone": (("DELETE FROM audit",), [(Kind.DELETED, seq) for seq in range(1, 13)]),
    "all is gone with the seals": (("DELETE FROM audit", "DELETE FROM audit_seals"), [(Kind.TRUNCATED, 12)]),
    "the seals are gone": (("DELETE FROM audit_seals",), [(Kind.TRUNCATED, 12)]),
}


@pytest.mark.parametrize(("statements", "findings"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_it_is_found_and_told_with_its_entry(
    world: World, statements: Sequence[str], findings: Sequence[tuple[Kind, int | None]]
) -> None:
    world.edit(*statements)
    assert sorted(await world.found(), key=str) == sorted(findings, key=str)


async def test_a_chain_that_was_computed_anew_contradicts_the_checkpoint(world: World) -> None:
    world.edit("UPDATE audit SET actor = 'operator' WHERE seq = 3")
    await reseal(world)
    assert await world.found() == [(Kind.REWRITTEN, ENTRIES)]


async def test_the_history_of_checkpoints_bounds_where_the_log_was_written_anew(world: World) -> None:
    await world.live(3)
    await world.live(5)
    world.edit("UPDATE audit SET actor = 'operator' WHERE seq = 14")
    await reseal(world)
    (finding,) = (await world.report()).findings
    assert (finding.kind, finding.seq) == (Kind.REWRITTEN, 15), "the first checkpoint, at 12, still holds"


async def test_an_end_that_was_cut_off_stays_found_when_a_later_life_has_grown_another(world: World) -> None:
    world.edit(*TAIL_AND_SEALS)
    await world.live(2)
    assert await world.found() == [(Kind.TRUNCATED, 12)]
    await world.live(10)
    assert await world.found() == [(Kind.REWRITTEN, 12)]


async def test_a_checkpoint_that_was_set_back_contradicts_its_history(world: World) -> None:
    head = world.data / "audit" / f"{ENV}.head"
    earlier = head.read_bytes()
    await world.live(3)
    world.edit("DELETE FROM audit WHERE seq > 12", "DELETE FROM audit_seals WHERE seq > 12")
    head.write_bytes(earlier)
    assert await world.found() == [(Kind.TRUNCATED, 15)]


@pytest.mark.parametrize(
    ("gone", "content"), [("head", None), ("heads", None), ("head", b"nonsense\n"), ("heads", b"nonsense\n")]
)
async def test_a_checkpoint_that_is_gone_or_none_is_found(world: World, gone: str, content: bytes | None) -> None:
    path = world.data / "audit" / f"{ENV}.{gone}"
    path.unlink() if content is None else path.write_bytes(content)
    assert await world.found() == [(Kind.CHECKPOINT, None)]


async def test_without_any_checkpoint_a_sealed_log_is_not_taken_for_intact(world: World) -> None:
    rmtree(world.data / "audit")
    assert await world.found() == [(Kind.CHECKPOINT, None)]


async def test_checkpoints_that_a_later_life_has_begun_anew_say_from_where(world: World) -> None:
    rmtree(world.data / "audit")
    await world.live(1)
    report = await world.report()
    assert report.intact
    assert (report.checkpoints_from, report.checkpoint) == (12, 13)


async def test_a_copy_of_the_checkpoints_finds_the_work_of_who_can_write_them(world: World, tmp_path: Path) -> None:
    copytree(world.data / "audit", tmp_path / "elsewhere")
    world.edit(*TAIL_AND_SEALS)
    rmtree(world.data / "audit")
    await world.live(1)
    assert (await world.report()).intact
    world.heads = Heads(tmp_path / "elsewhere")
    assert await world.found() == [(Kind.TRUNCATED, 12)]


async def test_many_findings_are_counted_and_the_first_of_them_told(world: World) -> None:
    await world.live(MAX_SUSPECTS + 50)
    world.edit("UPDATE audit SET actor = 'x'")
    report = await world.report()
    assert len(report.findings) == MAX_FINDINGS
    assert report.untold == ENTRIES + MAX_SUSPECTS + 50 - MAX_FINDINGS


# --- on the command line


def onhook(world: World, *arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["audit", *arguments, "--data", str(world.data)])
    return result.exit_code, result.output


async def verified(world: World, *arguments: str) -> tuple[int, str]:
    """Run the command as a shell does: in no event loop."""
    return await asyncio.to_thread(onhook, world, "verify", *arguments)


async def test_the_command_says_that_a_log_is_intact_and_leaves_with_0(world: World) -> None:
    code, output = await verified(world)
    assert (code, output) == (
        0,
        f"{ENV}: intact: {ENTRIES} entries sealed, 0 waiting for their seal, checkpoint at {ENTRIES}\n",
    )


async def test_the_command_names_the_entry_that_was_changed_and_leaves_with_5(world: World) -> None:
    world.edit("UPDATE audit SET actor = 'x' WHERE seq = 3")
    code, output = await verified(world, "--environment", ENV)
    assert code == 5
    assert f"{ENV}: NOT INTACT" in output
    assert "edited: entry 3 (call.stop call_2) was changed, or its seal was" in output


async def test_the_command_tells_programs_the_same(world: World) -> None:
    world.edit(*TAIL_AND_SEALS)
    code, output = await verified(world, "--json")
    assert code == 5
    (report,) = json.loads(output)["reports"]
    assert (report["environment_id"], report["intact"], report["sealed"], report["checkpoint"]) == (ENV, False, 8, 12)
    assert [(one["kind"], one["seq"], one["number"]) for one in report["findings"]] == [("truncated", 12, 9)]


async def test_an_environment_that_is_gone_from_the_database_is_checked_by_its_checkpoint(world: World) -> None:
    world.edit("DELETE FROM records", "DELETE FROM audit", "DELETE FROM audit_seals")
    code, output = await verified(world)
    assert code == 5
    assert "truncated" in output


async def test_an_environment_that_never_was_cannot_be_checked(world: World) -> None:
    assert await verified(world, "--environment", "env_none") == (1, "onhook: no environment env_none\n")


async def test_the_command_lists_what_was_done_the_newest_of_it_and_only_what_is_asked_for(world: World) -> None:
    code, output = await asyncio.to_thread(onhook, world, "list", "--limit", "2")
    assert code == 0
    assert [line.split("  ")[0] for line in output.splitlines()] == ["11", "12"]
    assert output.splitlines()[1] == (
        '12  1970-01-01 00:00:01Z  api_key:key_1  call.stop  call_11  request req_1  "why"'
    )
    _, output = await asyncio.to_thread(onhook, world, "list", "--target", "call_4", "--action", "call.stop", "--json")
    (entry,) = json.loads(output)["items"]
    assert (entry["seq"], entry["target"], entry["actor"]) == (5, "call_4", "api_key:key_1")
    _, output = await asyncio.to_thread(onhook, world, "list", "--actor", "operator")
    assert output == ""


async def reseal(world: World) -> None:
    """Compute all seals anew, as somebody does who knows how."""
    with world.edited() as db:
        db.execute("DELETE FROM audit_seals")
    store = SqliteStore(world.database)
    await store.open()
    await store.seal_audit(list(seals_of(await store.audit_entries(ENV, limit=1000), None)))
    await store.close()
