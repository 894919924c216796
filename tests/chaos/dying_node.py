"""A node that ends itself by SIGKILL at one boundary of the end path: `python -m tests.chaos.dying_node BOUNDARY`.

It is the product's own node, on a store and on a socket that know the boundary.
"""

import os
import signal
import sys
from collections.abc import Sequence
from enum import StrEnum
from unittest import mock

import msgspec
import uvloop

from onhook.calls.call import Call
from onhook.lines.sip.address import Destination
from onhook.lines.sip.machine import OnLeft
from onhook.lines.sip.udp import UdpSocket
from onhook.server import Node, run_node, sip_settings
from onhook.settings import Settings, load_settings
from onhook.store.secrets import SecretBox
from onhook.store.sqlite import SqliteStore
from onhook.store.store import Settlement, StopOrder, Stopped

T1 = 0.1
"""SIP's timer T1 (s) here: what is never answered is given up after 6.4 s."""
ENOUGH_FOR_A_SLICE = 135
"""Goodbyes of a bulk stop that have left when its second slice is under way."""


class Boundary(StrEnum):
    """Where a node dies."""

    BEFORE_STOP_COMMIT = "before-the-stops-commit"
    BEFORE_WIRE = "after-the-commit-before-the-wire"
    BEFORE_ANSWER = "after-the-byes-bytes-before-the-answer"
    BEFORE_SETTLE_COMMIT = "after-the-answer-before-settles-commit"
    BEFORE_WEBHOOK = "after-settles-commit-before-the-webhook"
    AMID_BULK = "amid-a-bulk-stops-slices"
    NOWHERE = "nowhere"


class DyingStore(SqliteStore):
    """The embedded store; whoever comes to the process's boundary in it is killed."""

    async def request_stops(self, orders: Sequence[StopOrder]) -> list[Stopped | None]:
        reach(Boundary.BEFORE_STOP_COMMIT)
        found = await super().request_stops(orders)
        reach(Boundary.BEFORE_WIRE)
        return found

    async def settle(self, settlement: Settlement) -> Call | None:
        reach(Boundary.BEFORE_SETTLE_COMMIT)
        call = await super().settle(settlement)
        reach(Boundary.BEFORE_WEBHOOK)
        return call


class DyingSocket(UdpSocket):
    """The SIP socket; counts the BYEs and CANCELs that have left."""

    goodbyes = 0

    def send(self, data: bytes, destination: Destination, on_left: OnLeft | None = None) -> None:
        super().send(data, destination, on_left)
        if data.startswith((b"BYE ", b"CANCEL ")):
            self.goodbyes += 1
            reach(Boundary.BEFORE_ANSWER)
            if self.goodbyes == ENOUGH_FOR_A_SLICE:
                reach(Boundary.AMID_BULK)


def reach(boundary: Boundary) -> None:
    """Die if this is the boundary that the process was started for."""
    if boundary == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(settings: Settings, secrets: SecretBox, carrier_uri: str | None) -> Node:
    """Make a node as `run_node` does, on the store that knows the boundary."""
    sip = msgspec.structs.replace(sip_settings(settings), t1=T1)
    return Node(settings, secrets, carrier_uri, sip, DyingStore(settings.database_path))


if __name__ == "__main__":
    with mock.patch("onhook.server.Node", dying), mock.patch("onhook.lines.sip.transport.UdpSocket", DyingSocket):
        uvloop.run(run_node(load_settings()))
