"""A carrier that outlives the servers under test."""

from collections.abc import AsyncIterator

import pytest
from tests.chaos.carrier import GatedCarrier


@pytest.fixture
async def carrier() -> AsyncIterator[GatedCarrier]:
    carrier = GatedCarrier()
    await carrier.start()
    yield carrier
    await carrier.close()
