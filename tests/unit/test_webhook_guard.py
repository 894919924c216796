"""Which addresses deliveries may go to."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.webhooks.guard import Guard, RefusedError, check_url, is_public

pytestmark = pytest.mark.unit

PRIVATE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "64:ff9b:1:a00:0:100:808:808",
    "2002:7f00:1::",
    "2002:c0a8:101::1",
    "2001::1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "5f00::1",
    "4000::1",
    "fe80::1%eth0",
    "ff02::1",
]
PUBLIC = [
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.0",
    "172.32.0.1",
    "2606:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "64:ff9b:1::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_addresses_of_our_own_network_are_refused(address: str) -> None:
    assert not is_public(address)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(RefusedError):
        Guard(allow_private=False).socket((family, socket.SOCK_STREAM, 0, "", (address, 80)))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_good(address: str) -> None:
    assert is_public(address)
    assert Guard(allow_private=False).permits(address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_the_same_in_every_disguise(address: object) -> None:
    number = int(address)  # type: ignore[call-overload]
    high, low = number >> 16, number & 0xFFFF
    for disguise in (f"::ffff:{address}", f"64:ff9b::{high:x}:{low:x}", f"2002:{high:x}:{low:x}::"):
        assert is_public(disguise) == is_public(str(address))


def test_private_addresses_are_good_when_they_are_allowed() -> None:
    made = Guard(allow_private=True).socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    made.close()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook",
        "http://example.com:8080/hook?x=1",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]/",
        "https://localhost.example/",
    ],
)
def test_a_url_of_the_internet_is_good(url: str) -> None:
    assert check_url(url) is None


@pytest.mark.parametrize("url", ["", "example.com", "/hook", "ftp://example.com/", "file:///etc/passwd", "http://"])
def test_a_url_must_be_of_http(url: str) -> None:
    assert check_url(url) == "must begin with http:// or https://"
    assert check_url(url, allow_private=True) is not None


@pytest.mark.parametrize("url", ["http://[::1", "http://host:port/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    assert check_url(url) == "is not a URL"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://[::1]:8080/", "http://localhost/", "http://LOCALHOST./", "https://10.1.2.3/"]
)
def test_a_url_that_says_a_private_address_is_refused_unless_allowed(url: str) -> None:
    assert check_url(url) == "must not be an address of a private network"
    assert check_url(url, allow_private=True) is None
