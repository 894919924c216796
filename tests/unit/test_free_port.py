"""The ports that a server without configured ones is given."""

import socket
from collections.abc import Iterator

import pytest

from onhook.supervisor import CHOSEN_PORTS, SIP_SOCKETS, free_port

pytestmark = pytest.mark.unit


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that TCP has, and the only one there is to choose."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        monkeypatch.setattr("onhook.supervisor.CHOSEN_PORTS", (port,))
        yield port


def test_a_port_is_chosen_where_outgoing_connections_take_none() -> None:
    assert free_port("127.0.0.1", *SIP_SOCKETS) in CHOSEN_PORTS


@pytest.mark.usefixtures("taken")
def test_a_port_for_sip_is_free_for_udp_and_for_tcp() -> None:
    with pytest.raises(OSError, match="no free port"):
        free_port("127.0.0.1", *SIP_SOCKETS)


def test_a_port_that_is_free_for_the_one_kind_asked_for_is_good(taken: int) -> None:
    assert free_port("127.0.0.1", socket.SOCK_DGRAM) == taken


def test_an_address_that_is_not_ours_has_no_free_port() -> None:
    with pytest.raises(OSError, match="no free port"):
        free_port("192.0.2.1", socket.SOCK_STREAM)
