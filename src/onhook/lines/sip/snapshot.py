"""What a later life of the process needs to end a leg, as JSON bytes, and the order in which it is written."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from onhook.lines.engine import SnapshotJournal
from onhook.lines.sip.address import Destination
from onhook.lines.sip.credentials import Account
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.message import MessageError, Request, parse
from onhook.store.store import StoreError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LegIdentity:
    """Which call a leg belongs to, and what its trunk lets it do."""

    call_id: str
    sip_call_id: str
    trunk_id: str
    account: Account
    send_text: bool


class Snapshot(msgspec.Struct, frozen=True):
    """A leg, at rest.

    `invite` is the text of the last INVITE, branch and Via included, which says where it came from; `destination` is
    where it went. `provisional` says whether it drew a 1xx. `sent_at` is when it first left (ms), or about to when it
    may not have. `primary` is the remote tag of the dialog that won, and `answered_at` when it did (ms). No
    credentials are kept, only whose they are.

    Of a leg that the far end started, `incoming_tag` is our tag, `invite` is the far end's and `destination` where it
    is answered; it has a dialog once our 200 may have left.
    """

    sip_call_id: str
    trunk_id: str
    send_reason_text: bool
    invite: str
    destination: Destination
    sent_at: int
    provisional: bool = False
    dialogs: tuple[Dialog, ...] = ()
    primary: str | None = None
    answered_at: int | None = None
    incoming_tag: str = ""
    version: int = 1

    def request(self) -> Request:
        """Return the INVITE. Raises `ValueError`."""
        message = parse(self.invite.encode("latin-1"))
        if not isinstance(message, Request):
            raise MessageError("the snapshot holds no request")
        return message

    def encode(self) -> bytes:
        """Return the bytes for the journal."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "Snapshot":
        """Read the journal's bytes. Raises `ValueError`."""
        return msgspec.json.decode(data, type=cls)


class LegJournal:
    """Writes one leg's snapshots in order. Of changes that wait together only the newest is written."""

    def __init__(self, journal: SnapshotJournal, call_id: str, take: Callable[[], Snapshot]) -> None:
        self._journal = journal
        self._call_id = call_id
        self._take = take
        self._turn = asyncio.Lock()
        self._stale = False
        self._closed = False

    async def before_invite(self) -> bool:
        """Commit before an INVITE leaves; False when it may not. Raises `StoreError`."""
        async with self._turn:
            self._stale = False
            return await self._journal.before_invite(self._call_id, self._take().encode())

    async def update(self) -> None:
        """Commit the leg as it is now. A failure is logged: the call goes on, and so does its end."""
        self._stale = True
        async with self._turn:
            if not self._stale or self._closed:
                return
            self._stale = False
            try:
                await self._journal.update(self._call_id, self._take().encode())
            except StoreError as error:
                log.warning("call %s: its snapshot could not be written: %s", self._call_id, error)

    def close(self) -> None:
        """Write nothing more: whoever owns the journal may forget the leg now."""
        self._closed = True
