"""Spoiled messages by the thousand: no crash, no leak, no ended call, no false proof. A seed repeats a run exactly."""

import secrets
from random import Random

import pytest
from tests.unit.sip_world import FAR, World, reply_to
from tests.wire.torture.life import PHASES, Life
from tests.wire.torture.mutate import mutate
from tests.wire.torture.vigil import Vigil

from onhook.calls.proof import Result
from onhook.lines.engine import LegEnded

pytestmark = pytest.mark.wire

MESSAGES_PER_PHASE = 4_400
MESSAGES_PER_LIFE = 40


@pytest.fixture
def random(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Random:
    """Chance with a seed of the test's own; the engine's tags and branches come from it too."""
    random = Random(request.node.name)
    monkeypatch.setattr(secrets, "token_hex", lambda size: random.randbytes(size).hex())
    monkeypatch.setattr(secrets, "randbits", random.getrandbits)
    return random


@pytest.mark.parametrize("phase", PHASES)
async def test_a_spoiled_message_ends_or_proves_nothing_that_it_may_not(phase: str, random: Random) -> None:
    async with Vigil():
        left = MESSAGES_PER_PHASE
        while left > 0:
            life = Life(phase)
            await life.begin()
            for _ in range(MESSAGES_PER_LIFE):
                material = life.material()
                left -= 1
                await life.feed(mutate(random, random.choice(material), material))
                if life.has_ended:
                    break
            await life.finish()


async def test_a_second_final_response_does_not_rewrite_the_evidence() -> None:
    world = World()
    invite = await world.answered()
    world.reply(invite, 200, tag="fork")
    (bye,) = world.requests("BYE")
    world.reply(bye, 408)
    world.reply(bye, 200)
    world.hang_up()
    world.reply(world.last("BYE"), 200)
    assert {step.remote_tag: step.status for step in world.proof.steps} == {"fork": 408, "far": 200}
    assert world.proof.result is Result.UNCONFIRMED


@pytest.mark.parametrize("blank", [b"\xa0", b"\x85", b"\x1f"], ids=repr)
async def test_only_space_and_tab_are_blank_in_a_header(blank: bytes) -> None:
    world = World()
    invite = await world.place()
    busy = reply_to(invite, 486)
    for odd in (busy.replace(b"Call-ID: ", b"Call-ID:" + blank), busy.replace(b"\r\nFrom", blank + b"\r\nFrom")):
        assert odd != busy
        world.agent.layer.receive(odd, FAR)
    assert not world.of(LegEnded), "neither the Call-ID nor the branch is ours"
    world.agent.layer.receive(busy, FAR)
    assert world.ended.proof.result is Result.CONFIRMED
