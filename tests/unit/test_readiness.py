"""What `/readyz` says of a node's capacity: to be full is its operator's wish, to be late is its fault."""

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from onhook.readiness import readiness
from tests.unit.control_bench import Bench

if TYPE_CHECKING:
    from onhook.webhooks.courier import Courier

pytestmark = pytest.mark.unit

COURIER = cast("Courier", SimpleNamespace(running=True))


async def test_a_node_with_room_is_ok() -> None:
    bench = await Bench(max_calls=2).open()
    await bench.place()
    assert (await readiness(bench.store, COURIER, None, bench.capacity))["capacity"] == "ok"


async def test_a_full_node_is_fit_within_its_limit() -> None:
    bench = await Bench(max_calls=1).open()
    await bench.place()
    said = (await readiness(bench.store, COURIER, None, bench.capacity))["capacity"]
    assert said == "limited: This server takes no more than 1 calls at once"


async def test_a_late_node_is_not_fit() -> None:
    bench = await Bench(max_calls=1).open()
    bench.late = True
    said = (await readiness(bench.store, COURIER, None, bench.capacity))["capacity"]
    assert said == "This server is overloaded: the audio of its calls is late"
