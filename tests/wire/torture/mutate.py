"""Ways to spoil a SIP message. All chance comes from the `Random` that is handed in, so a seed tells the whole run."""

import re
from collections.abc import Callable, Sequence
from random import Random

Mutation = Callable[[Random, bytes], bytes]

_NUMBERS = [b"0", b"-1", b"00000007", b"2147483647", b"2147483648", b"4294967296", b"1" + b"0" * 100, b"1e9", b"five"]
_METHODS = [b"BYE", b"CANCEL", b"INVITE", b"ACK", b"bye", b"B%59E", b"OPTIONS", b"INFO", b"UPDATE", b"PRACK", b"NEW"]
_STATUSES = [b"100", b"180", b"200", b"202", b"299", b"302", b"401", b"407", b"481", b"487", b"500", b"699", b"777"]
_TRANSPORTS = [b"TCP", b"TLS", b"SCTP", b"WS", b"UNKNOWN", b"udp", b""]
_HEADERS = [b"Via", b"From", b"To", b"Call-ID", b"CSeq", b"Contact", b"Record-Route", b"Require", b"Content-Length"]
_HEADERS += [b"Content-Type", b"Session-Expires", b"Min-SE", b"Retry-After", b"Route", b"Reason", b"Supported", b"x"]
_NOISE = [
    b"\0",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\r",
    b"\n",
    b"\t",
    b"\x0b\x0c",
    b"\xe2\x80\xa8",
    b"\x85",
    b"\xa0",
    b"\x1b[",
]
_QUOTES = [
    b'"',
    b'"\\"',
    b'""',
    b"<",
    b">",
    b"<<>>",
    b'"<"',
    b";;",
    b",",
    b",,",
    b"\\",
    b"?",
    b"%00",
    b"@",
    b";tag=far1",
]


def mutate(random: Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Return `data` spoiled in one to four ways; `others` lend what is mixed in."""
    for _ in range(random.choice((1, 1, 1, 2, 3, 4))):
        if random.random() < 0.05:
            data = _splice(random, data, random.choice(others))
        else:
            data = random.choice(MUTATIONS)(random, data)
    return data[:65_000]


def _splice(random: Random, data: bytes, other: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)] + other[random.randrange(len(other) + 1) :]


def _flip_bits(random: Random, data: bytes) -> bytes:
    spoiled = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if spoiled else 0):
        spoiled[random.randrange(len(spoiled))] ^= 1 << random.randrange(8)
    return bytes(spoiled)


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: random.randrange(len(data) + 1)]


def _insert_noise(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(_NOISE) * random.choice((1, 1, 3)) + data[at:]


def _insert_quotes(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + random.choice(_QUOTES) * random.choice((1, 1, 2, 40)) + data[at:]


def _delete_slice(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    return data[:at] + data[at + random.choice((1, 2, 7, 40)) :]


def _change_number(random: Random, data: bytes) -> bytes:
    return _replace_one(random, data, rb"\d+", random.choice(_NUMBERS))


def _change_method(random: Random, data: bytes) -> bytes:
    return _replace_one(random, data, rb"\b[A-Z]{3,8}\b", random.choice(_METHODS))


def _change_status(random: Random, data: bytes) -> bytes:
    return re.sub(rb"^SIP/2\.0 \d+", b"SIP/2.0 " + random.choice(_STATUSES), data)


def _change_transport(random: Random, data: bytes) -> bytes:
    kind = random.choice(_TRANSPORTS)
    if random.random() < 0.5:
        return re.sub(rb"SIP/2\.0/\w+", b"SIP/2.0/" + kind, data, count=1)
    return re.sub(rb"(Contact: <[^>]*)>", rb"\1;transport=" + kind + b">", data)


def _change_identifier(random: Random, data: bytes) -> bytes:
    """Change one character of a branch, a tag or the Call-ID."""
    found = list(re.finditer(rb"(?:branch=|tag=|Call-ID: )([^;,\s]+)", data))
    if not found:
        return data
    one = random.choice(found)
    at = random.randrange(*one.span(1))
    return data[:at] + bytes([random.choice(b"abcxyz0189-.!%")]) + data[at + 1 :]


def _drop_parameter(random: Random, data: bytes) -> bytes:
    return _replace_one(random, data, rb";(?:branch|tag|rport|lr)(?:=[^;,\s]*)?", b"")


def _negative_length(_random: Random, data: bytes) -> bytes:
    return re.sub(rb"Content-Length: ", b"Content-Length: -", data)


def _lines(change: Callable[[Random, list[bytes]], None]) -> Mutation:
    """Make a mutation of one that changes the list of header lines in place."""

    def on_lines(random: Random, data: bytes) -> bytes:
        head, mark, body = data.partition(b"\r\n\r\n")
        start, *lines = head.split(b"\r\n")
        if lines:
            change(random, lines)
        return b"\r\n".join([start, *lines]) + mark + body

    return on_lines


def _duplicate_header(random: Random, lines: list[bytes]) -> None:
    lines.insert(random.randrange(len(lines) + 1), random.choice(lines))


def _remove_header(random: Random, lines: list[bytes]) -> None:
    del lines[random.randrange(len(lines))]


def _shuffle_headers(random: Random, lines: list[bytes]) -> None:
    random.shuffle(lines)


def _cross_headers(random: Random, lines: list[bytes]) -> None:
    """Give a header's value to another name."""
    _, _, value = random.choice(lines).partition(b":")
    lines[random.randrange(len(lines))] = random.choice(_HEADERS) + b":" + value


def _make_list(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    lines[at] += b", " + random.choice(lines).partition(b": ")[2]


def _fold_header(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at].replace(b" ", random.choice((b"\r\n ", b"\r\n\t", b"\n ", b"\r\n\r\n ")))


def _lengthen_header(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    lines[at] += random.choice((b"a", b",", b";x", b'"', b" ", b"<", b"\\", b"=")) * random.choice((100, 5_000, 20_000))


def _empty_header(random: Random, lines: list[bytes]) -> None:
    at = random.randrange(len(lines))
    lines[at] = lines[at].partition(b":")[0] + random.choice((b"", b":", b": ", b":;", b": ,"))


def _mix_line_ends(random: Random, data: bytes) -> bytes:
    parts = data.split(b"\r\n")
    ends = [random.choice((b"\r\n", b"\r\n", b"\n", b"\r", b"\n\r")) for _ in parts[1:]]
    return b"".join(part + end for part, end in zip(parts, [*ends, b""], strict=True))


def _bare_line_feeds(_random: Random, data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def _replace_one(random: Random, data: bytes, pattern: bytes, new: bytes) -> bytes:
    found = list(re.finditer(pattern, data))
    if not found:
        return data
    one = random.choice(found)
    return data[: one.start()] + new + data[one.end() :]


MUTATIONS: list[Mutation] = [
    _flip_bits, _truncate, _insert_noise, _insert_quotes, _delete_slice, _change_number, _change_method,
    _change_status, _change_transport, _change_identifier, _drop_parameter, _negative_length,
    _lines(_duplicate_header), _lines(_remove_header), _lines(_shuffle_headers), _lines(_cross_headers),
    _lines(_make_list), _lines(_fold_header), _lines(_lengthen_header), _lines(_empty_header), _mix_line_ends,
    _bare_line_feeds,
]  # fmt: skip
