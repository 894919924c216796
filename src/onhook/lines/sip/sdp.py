"""Session descriptions (RFC 8866), offers and answers (RFC 3264): one G.711 audio stream with keys.

We speak PCMU and PCMA with `telephone-event` in packets of 20 ms and nothing else. `parse` reads what the
peer sent, be it an offer or an answer; `offer` and `answer` write ours.
"""

import re
from ipaddress import ip_address

import msgspec

SENDRECV, SENDONLY, RECVONLY, INACTIVE = "sendrecv", "sendonly", "recvonly", "inactive"

CODECS = {"PCMU": 0, "PCMA": 8}
"""Codec names and their static payload types (RFC 3551 section 6)."""

DEFAULT_PTIME_MS = 20

_DIRECTIONS = (SENDRECV, SENDONLY, RECVONLY, INACTIVE)
_PROTOCOLS = ("RTP/AVP", "RTP/AVPF")
UNSPECIFIED = ("0.0.0.0", "::")
"""Addresses that mean hold (RFC 3264 section 8.4)."""

_LINE_END = re.compile(r"\r\n|\r|\n")


class SdpError(ValueError):
    """There is no usable description of a G.711 audio stream."""


class LocalMedia(msgspec.Struct, frozen=True):
    """Our side of the session.

    `session_id` stays for the life of the dialog, `version` grows by one with each changed description
    (RFC 3264 section 8).
    """

    host: str
    port: int
    session_id: int
    version: int
    direction: str = SENDRECV
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    dtmf_payload: int = 101


class MediaLine(msgspec.Struct, frozen=True):
    """One m-line as the peer wrote it; an answer repeats each in its place."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]


class RemoteMedia(msgspec.Struct, frozen=True):
    """The peer's first acceptable audio stream.

    `payload_type` is 0 (PCMU) or 8 (PCMA), `dtmf_payload` the type of its `telephone-event/8000` or None.
    `direction` is the peer's view; the old hold by address 0.0.0.0 reads as `sendonly`. `lines` are all
    its m-lines, `index` is the place of this one, `timing` the t= line.
    """

    host: str
    port: int
    payload_type: int
    dtmf_payload: int | None = None
    direction: str = SENDRECV
    ptime: int = DEFAULT_PTIME_MS
    lines: tuple[MediaLine, ...] = ()
    index: int = 0
    timing: str = "0 0"

    @property
    def listens(self) -> bool:
        """True when the peer wants our audio; False on hold."""
        return self.direction in (SENDRECV, RECVONLY)


class _Section(msgspec.Struct):
    """The session part, or one m-line, with the lines below it."""

    media: MediaLine | None = None
    connection: str | None = None
    timing: str | None = None
    attributes: list[tuple[str, str]] = msgspec.field(default_factory=list)


def offer(local: LocalMedia) -> bytes:
    """Return our description as an offer (RFC 3264 section 5)."""
    payloads = [CODECS[name] for name in local.codecs]
    return _join(
        [*_session_lines(local), *_audio_lines(local, "RTP/AVP", payloads, local.dtmf_payload, local.direction)]
    )


def answer(remote: RemoteMedia, local: LocalMedia) -> bytes:
    """Return our answer to the offer that `remote` was read from (RFC 3264 section 6).

    Its chosen stream is accepted with the one codec chosen, the others keep their m-lines with port 0. The direction
    is the mirror of the peer's, narrowed to `local.direction`.
    """
    lines = _session_lines(local, remote.timing)
    for index, media in enumerate(remote.lines or (_bare_line(remote),)):
        if index == remote.index:
            direction = _mirror(remote.direction, local.direction)
            lines += _audio_lines(local, media.protocol, [remote.payload_type], remote.dtmf_payload, direction)
        else:
            lines.append(f"m={media.kind} 0 {media.protocol} {' '.join(media.formats)}")
    return _join(lines)


def parse(body: bytes) -> RemoteMedia:
    """Read the peer's offer or answer. Raises `SdpError`, and nothing else, for anything unusable."""
    session, sections = _split(body)
    lines = tuple(section.media for section in sections if section.media is not None)
    for index, section in enumerate(sections):
        payload_type = _acceptable(section)
        if section.media is None or payload_type is None:
            continue
        host = _address(section.connection or session.connection)
        return RemoteMedia(
            host=host,
            port=section.media.port,
            payload_type=payload_type,
            dtmf_payload=_dtmf_payload(section),
            direction=_direction(section, session, on_hold=host in UNSPECIFIED),
            ptime=_ptime(section),
            lines=lines,
            index=index,
            timing=session.timing or "0 0",
        )
    raise SdpError("no audio stream with PCMU or PCMA over plain RTP")


def _split(body: bytes) -> tuple[_Section, list[_Section]]:
    lines = [line for line in _LINE_END.split(body.decode("utf-8", "replace")) if line]
    if not lines or lines[0].strip() != "v=0":
        raise SdpError("not a session description: it must begin with v=0")
    session = current = _Section()
    sections: list[_Section] = []
    for line in lines[1:]:
        kind, _, value = line.partition("=")
        value = value.strip()
        if kind == "m":
            current = _Section(media=_media_line(value))
            sections.append(current)
        elif kind == "c":
            current.connection = current.connection or value
        elif kind == "t":
            current.timing = current.timing or value
        elif kind == "a":
            name, _, argument = value.partition(":")
            current.attributes.append((name.lower(), argument.strip()))
    return session, sections


def _media_line(value: str) -> MediaLine:
    fields = value.split()
    if len(fields) < 4:
        raise SdpError(f"unreadable m-line: {value[:80]!r}")
    port = _number(fields[1].partition("/")[0], 65_535)
    if port is None:
        raise SdpError(f"unreadable port in m-line: {value[:80]!r}")
    return MediaLine(fields[0], port, fields[2], tuple(fields[3:]))


def _acceptable(section: _Section) -> int | None:
    """Return the payload type to speak on this stream: the peer's first choice of ours; None to refuse it."""
    media = section.media
    if media is None or media.kind != "audio" or media.port == 0 or media.protocol not in _PROTOCOLS:
        return None
    maps = _rtpmaps(section)
    for name, payload_type in sorted(CODECS.items(), key=lambda item: _rank(media, item[1])):
        if str(payload_type) in media.formats and maps.get(payload_type, f"{name}/8000") in _spellings(name):
            return payload_type
    return None


def _rank(media: MediaLine, payload_type: int) -> int:
    text = str(payload_type)
    return media.formats.index(text) if text in media.formats else len(media.formats)


def _spellings(codec: str) -> tuple[str, str]:
    return f"{codec}/8000", f"{codec}/8000/1"


def _dtmf_payload(section: _Section) -> int | None:
    formats = section.media.formats if section.media else ()
    for payload_type, encoding in _rtpmaps(section).items():
        if encoding in _spellings("TELEPHONE-EVENT") and str(payload_type) in formats:
            return payload_type
    return None


def _rtpmaps(section: _Section) -> dict[int, str]:
    """Return payload type to encoding, in capitals (names are case-insensitive, RFC 8866 section 6.6)."""
    maps: dict[int, str] = {}
    for name, argument in section.attributes:
        payload, _, encoding = argument.partition(" ")
        payload_type = _number(payload, 127) if name == "rtpmap" else None
        if payload_type is not None:
            maps.setdefault(payload_type, encoding.strip().upper())
    return maps


def _direction(section: _Section, session: _Section, *, on_hold: bool) -> str:
    stated = [name for name, _ in [*section.attributes, *session.attributes] if name in _DIRECTIONS]
    direction = stated[0] if stated else SENDRECV
    if on_hold:
        # RFC 3264 section 8.4: no address to send to is the hold of RFC 2543.
        return SENDONLY if direction in (SENDRECV, SENDONLY) else INACTIVE
    return direction


def _mirror(remote: str, local: str) -> str:
    sends = local in (SENDRECV, SENDONLY) and remote in (SENDRECV, RECVONLY)
    receives = local in (SENDRECV, RECVONLY) and remote in (SENDRECV, SENDONLY)
    return {(True, True): SENDRECV, (True, False): SENDONLY, (False, True): RECVONLY, (False, False): INACTIVE}[
        sends, receives
    ]


def _ptime(section: _Section) -> int:
    stated = [_number(argument, 200) for name, argument in section.attributes if name == "ptime"]
    return (stated[0] if stated else None) or DEFAULT_PTIME_MS


def _address(connection: str | None) -> str:
    """Return the numeric address of a c= line; a name would need a look-up that blocks the media."""
    fields = (connection or "").split()
    if len(fields) != 3 or fields[0] != "IN":
        raise SdpError("no readable c= line for the audio stream")
    host = fields[2].partition("/")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        raise SdpError(f"the c= line must carry an IP address, not {host[:80]!r}") from None


def _number(text: str, highest: int) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= 5):
        return None
    return int(text) if int(text) <= highest else None


def _bare_line(remote: RemoteMedia) -> MediaLine:
    return MediaLine("audio", remote.port, "RTP/AVP", (str(remote.payload_type),))


def _session_lines(local: LocalMedia, timing: str = "0 0") -> list[str]:
    address = f"IN IP{6 if ':' in local.host else 4} {local.host}"
    origin = f"o=onhook {local.session_id} {local.version} {address}"
    return ["v=0", origin, "s=-", f"c={address}", f"t={timing}"]


def _audio_lines(
    local: LocalMedia, protocol: str, payloads: list[int], dtmf_payload: int | None, direction: str
) -> list[str]:
    names = {payload_type: name for name, payload_type in CODECS.items()}
    formats = [*payloads, *([] if dtmf_payload is None else [dtmf_payload])]
    lines = [f"m=audio {local.port} {protocol} {' '.join(map(str, formats))}"]
    lines += [f"a=rtpmap:{payload} {names[payload]}/8000" for payload in payloads]
    if dtmf_payload is not None:
        lines += [f"a=rtpmap:{dtmf_payload} telephone-event/8000", f"a=fmtp:{dtmf_payload} 0-15"]
    return [*lines, f"a=ptime:{DEFAULT_PTIME_MS}", f"a={direction}"]


def _join(lines: list[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()
