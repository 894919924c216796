"""The ports that a server without configured ones is given."""

import socket
from collections.abc import Iterator

import pytest

from onhook.supervisor import SIP_SOCKETS, free_port

pytestmark = pytest.mark.unit


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A port that TCP has and that the system offers to UDP first."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        offers = iter([port])

        class Offering(socket.socket):
            def bind(self, address: tuple[str, int]) -> None:  # type: ignore[override]
                host, wanted = address
                super().bind((host, wanted or next(offers, 0)))

        monkeypatch.setattr("onhook.supervisor.socket.socket", Offering)
        yield port


def test_a_port_for_sip_is_free_for_udp_and_for_tcp(taken: int) -> None:
    port = free_port("127.0.0.1", *SIP_SOCKETS)
    assert port not in (0, taken)


def test_a_port_that_is_free_for_the_one_kind_asked_for_is_good(taken: int) -> None:
    assert free_port("127.0.0.1", socket.SOCK_DGRAM) == taken


def test_an_address_that_is_not_ours_has_no_free_port() -> None:
    with pytest.raises(OSError, match="no free port"):
        free_port("192.0.2.1", socket.SOCK_STREAM)
