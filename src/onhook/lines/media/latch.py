"""Symmetric RTP (RFC 4961): find out where the far end's audio really comes from, and send there."""

Address = tuple[str, int]

PROBATION = 3
"""Packets of one SSRC from one unannounced source that make it the far end."""


class Latch:
    """Where to send, and whom to hear.

    We send to the address of the SDP until packets come from elsewhere: a far end behind a NAT cannot know its
    own address. After `PROBATION` packets of one source and SSRC that source is the far end. Once it is found
    strangers are ignored, but the address of the SDP may always take over. Each new SDP opens the latch again.
    """

    __slots__ = ("_announced", "_candidate", "_closed", "_seen", "destination")

    def __init__(self) -> None:
        self.destination: Address | None = None
        self._announced: Address | None = None
        self._closed = False
        self._candidate: tuple[Address, int] | None = None
        self._seen = 0

    def aim(self, announced: Address) -> None:
        """Take the address of a new SDP; an unchanged one keeps the source that was found."""
        if announced != self._announced:
            self._announced = self.destination = announced
        self._closed = False
        self._candidate = None

    def accepts(self, source: Address, ssrc: int) -> bool:
        """Return True when a packet from `source` is the far end's."""
        if source == self.destination or source == self._announced:  # noqa: PLR1714 - no tuple for each packet
            self.destination = source
            self._closed = True
            return True
        if self._closed or self.destination is None:
            return False
        if self._candidate != (source, ssrc):
            self._candidate, self._seen = (source, ssrc), 0
        self._seen += 1
        if self._seen < PROBATION:
            return False
        self.destination = source
        self._closed = True
        return True
