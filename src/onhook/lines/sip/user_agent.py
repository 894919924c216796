"""The user agent without sockets: holds the legs and brings messages to them."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Coroutine

from onhook.calls.call import mask_number
from onhook.calls.causes import Cause
from onhook.clock import Clock
from onhook.lines.engine import DialOrder, DtmfReceived, LineEvents, SnapshotJournal
from onhook.lines.media.session import MediaPort
from onhook.lines.sip.address import Destination, bracketed
from onhook.lines.sip.audio import Audio
from onhook.lines.sip.context import ALLOW, Context, Credentials, Network, SipSettings
from onhook.lines.sip.credentials import Account
from onhook.lines.sip.in_dialog import capabilities, refuse_extension, refuse_method
from onhook.lines.sip.invite import build_invite, trunk_destination
from onhook.lines.sip.layer import TransactionLayer
from onhook.lines.sip.leg import NOT_SENT, Leg
from onhook.lines.sip.leg_states import LegState
from onhook.lines.sip.machine import ServerTransaction
from onhook.lines.sip.message import Request, Response, new_tag
from onhook.lines.sip.snapshot import LegIdentity, Snapshot
from onhook.lines.sip.transaction import Timing

log = logging.getLogger(__name__)

OUT_OF_DIALOG = {"INVITE": 403, "BYE": 481, "INFO": 481, "UPDATE": 481}
"""What strangers are answered. We take no calls yet, and know none of theirs."""


class UserAgent:
    """A SIP user agent over any `Network`. Implements `lines.engine.Engine`."""

    def __init__(
        self,
        settings: SipSettings,
        journal: SnapshotJournal,
        events: LineEvents,
        clock: Clock,
        media: MediaPort,
        network: Network,
        credentials: Credentials | None = None,
    ) -> None:
        self.layer = TransactionLayer(network, clock, Timing(settings.t1, settings.t2, settings.t4))
        self.layer.user = self
        self._tag_key = secrets.token_bytes(16)
        self._tasks: set[asyncio.Task[None]] = set()
        self._credentials = credentials
        self._legs: dict[str, Leg] = {}
        self._by_sip_call_id: dict[str, Leg] = {}
        self._context = Context(
            settings=settings,
            clock=clock,
            network=network,
            layer=self.layer,
            journal=journal,
            events=events,
            media=media,
            spawn=self._spawn,
        )

    # --- the engine port

    async def place(self, order: DialOrder) -> None:
        """Start a leg; its INVITE is on the wire when this returns, unless a `LegEnded` said otherwise."""
        if order.call_id in self._legs or order.sip_call_id in self._by_sip_call_id:
            log.warning("call %s is placed already", order.call_id)
            return
        trunk = order.trunk
        account = None if trunk.username is None else (trunk.username, trunk.password or "")
        leg = self._new_leg(
            LegIdentity(order.call_id, order.sip_call_id, trunk.id, Account(account), send_text=trunk.send_reason_text)
        )
        try:
            destination = await self._context.network.connect(trunk_destination(trunk))
            if leg.state is LegState.PREPARING:
                self._prepare(leg, order, destination)
        except (OSError, ValueError) as error:
            log.warning("call %s to %s: not dialled: %s", order.call_id, mask_number(order.to_number), error)
            leg.give_up(NOT_SENT)
        if leg.state is LegState.PREPARING:
            await leg.launch()

    def hangup(self, call_id: str, cause: Cause) -> bool:
        """End a leg; what can be on the wire at once is there when this returns."""
        leg = self._legs.get(call_id)
        return leg is not None and leg.hangup(cause)

    def send_audio(self, call_id: str, mulaw: bytes) -> None:
        """Append to what a leg plays."""
        if (audio := self._audio(call_id)) is not None:
            audio.play(mulaw)

    def flush_audio(self, call_id: str) -> int:
        """Drop what a leg has queued; return how many ms that was."""
        audio = self._audio(call_id)
        return audio.flush() if audio is not None else 0

    def mark(self, call_id: str, name: str) -> None:
        """Append a mark to what a leg plays; where nothing plays any more it comes back as cleared."""
        audio = self._audio(call_id)
        if audio is None or not audio.mark(name):
            on_mark = self._context.events.on_mark
            self._context.clock.call_later(0, lambda: on_mark(call_id, name, cleared=True))

    def queued_ms(self, call_id: str) -> int:
        """Return how much a leg has queued, in ms."""
        audio = self._audio(call_id)
        return audio.queued_ms if audio is not None else 0

    def listen(self, call_id: str) -> None:
        """Report every 20 ms of a leg from now on."""
        if (audio := self._audio(call_id)) is not None:
            on_tick = self._context.events.on_tick
            audio.listen(lambda tick: on_tick(call_id, tick))

    def mute(self, call_id: str) -> None:
        """Send no more audio on a leg that is about to be ended."""
        if (audio := self._audio(call_id)) is not None:
            audio.cut()

    def send_dtmf(self, call_id: str, digits: str) -> None:
        """Send keys. Raises `ValueError` for what is no key."""
        if (audio := self._audio(call_id)) is not None:
            audio.send_dtmf(digits)

    def resume(self, call_id: str, snapshot: bytes, cause: Cause) -> None:
        """Take over a leg of an earlier life, only to end it. Raises `ValueError` for an unreadable snapshot."""
        if call_id in self._legs:
            return
        stored = Snapshot.decode(snapshot)
        invite = stored.request()
        account = self._credentials(stored.trunk_id) if self._credentials is not None else None
        identity = LegIdentity(
            call_id, stored.sip_call_id, stored.trunk_id, Account(account), send_text=stored.send_reason_text
        )
        self._new_leg(identity).resume(stored, invite, cause)

    def live_legs(self) -> int:
        """How many legs are not settled."""
        return sum(1 for leg in self._legs.values() if leg.state is not LegState.SETTLED)

    def remembered_legs(self) -> int:
        """How many legs are held, those included that only wait for late messages."""
        return len(self._legs)

    async def abandon(self) -> None:
        """Stop all work and forget all legs; nothing is ended on the wire."""
        for leg in self._legs.values():
            leg.abandon()
        self._legs.clear()
        self._by_sip_call_id.clear()
        self.layer.drop_all()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what the transaction layer brings

    def on_request(self, transaction: ServerTransaction) -> None:
        """Answer a new request of the far end."""
        request = transaction.request
        leg = self._by_sip_call_id.get(request.call_id)
        dialog = leg.dialog_of(request) if leg is not None else None
        if request.method == "CANCEL" and self.layer.invite_of(request) is not None:
            transaction.respond(200)
        elif leg is not None and dialog is not None and request.method != "CANCEL":
            leg.on_request(transaction, dialog)
        else:
            self._answer_stranger(transaction)

    def on_ack(self, ack: Request) -> None:
        """Bring an ACK to the leg whose 2xx it answers."""
        leg = self._by_sip_call_id.get(ack.call_id)
        if leg is not None and leg.dialog_of(ack) is not None:
            leg.on_ack(ack)

    def on_stray_response(self, response: Response) -> None:
        """Bring a 2xx that outlived its transaction to its leg; a foreign branch or method finds none."""
        leg = self._by_sip_call_id.get(response.call_id)
        if leg is not None and 200 <= response.status < 300 and leg.is_answer(response):
            leg.on_invite_response(response)

    # --- small parts

    def _answer_stranger(self, transaction: ServerTransaction) -> None:
        """Answer a request outside our dialogs, without state (RFC 3261 section 8.2.7).

        Anybody can send these, under any address: nothing of them is kept, and no response is repeated, for a flood
        must fill neither our memory nor the line of whoever it claims to come from.
        """
        request = transaction.request
        tag = self._tag_for(request)
        if request.method == "CANCEL" or request.to_tag:
            transaction.respond(481, tag=tag)
        elif request.method == "OPTIONS":
            _tell_capabilities(transaction, tag)
        elif request.method in OUT_OF_DIALOG:
            transaction.respond(OUT_OF_DIALOG[request.method], tag=tag, headers=(("Allow", ALLOW),))
        else:
            refuse_method(transaction, tag=tag)
        transaction.drop()

    def _tag_for(self, request: Request) -> str:
        """Return a To tag that is the same each time a request comes, and that nobody can foresee."""
        text = "\n".join((request.via.branch, request.call_id, request.from_tag, str(request.cseq.sequence)))
        return hashlib.blake2b(text.encode("latin-1"), digest_size=8, key=self._tag_key).hexdigest()

    def _prepare(self, leg: Leg, order: DialOrder, destination: Destination) -> None:
        """Bind the leg's media and write its INVITE. Raises `OSError` and `ValueError`."""
        context, events, call_id = self._context, self._context.events, order.call_id
        session = context.media.open(
            call_id,
            lambda frame: events.on_audio(call_id, frame),
            lambda digit, ms: events.on_event(DtmfReceived(call_id, context.clock.now_ms(), digit, ms)),
            lambda name, cleared: events.on_mark(call_id, name, cleared),
        )
        audio = Audio(session, context.media_host(destination))
        leg.audio = audio
        host = bracketed(context.local_host(destination))
        request = build_invite(
            order,
            tag=new_tag(),
            sent_by=f"{host}:{context.network.address[1]}",
            transport=destination.transport,
            user_agent=context.settings.user_agent,
            sdp=audio.offer(),
        )
        leg.prepare(request, destination, audio)

    def _new_leg(self, identity: LegIdentity) -> Leg:
        leg = Leg(self._context, identity, self._forget)
        self._legs[identity.call_id] = leg
        self._by_sip_call_id[identity.sip_call_id] = leg
        return leg

    def _forget(self, leg: Leg) -> None:
        self._legs.pop(leg.identity.call_id, None)
        self._by_sip_call_id.pop(leg.identity.sip_call_id, None)

    def _audio(self, call_id: str) -> Audio | None:
        leg = self._legs.get(call_id)
        return leg.audio if leg is not None else None

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _tell_capabilities(transaction: ServerTransaction, tag: str) -> None:
    """Answer an OPTIONS outside any dialog, in the order of checks of RFC 3261 section 8.2.2."""
    if not transaction.request.uri.lower().startswith(("sip:", "sips:")):
        transaction.respond(416, tag=tag)
    elif not refuse_extension(transaction, tag=tag):
        transaction.respond(200, tag=tag, headers=capabilities())
