"""The user agent without sockets: holds the legs and brings messages to them."""

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Coroutine

from onhook.calls.call import Dialect, mask_number, new_call_id
from onhook.calls.causes import Cause
from onhook.clock import Clock
from onhook.lines.engine import DialOrder, FindPeer, Incoming, LineEvents, SnapshotJournal, Trunk
from onhook.lines.media.session import MediaPort
from onhook.lines.sip.address import Destination, reopened
from onhook.lines.sip.audio import Audio, open_audio
from onhook.lines.sip.causes import NOT_SENT
from onhook.lines.sip.context import ALLOW, Context, Credentials, Network, SipSettings
from onhook.lines.sip.credentials import Account
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.guard import Guard
from onhook.lines.sip.in_dialog import capabilities, refuse_extension, refuse_method
from onhook.lines.sip.inbound_leg import InboundLeg
from onhook.lines.sip.invite import build_invite, contact_of, trunk_destination
from onhook.lines.sip.layer import TransactionLayer
from onhook.lines.sip.leg import Leg
from onhook.lines.sip.leg_states import LegState
from onhook.lines.sip.machine import ServerTransaction
from onhook.lines.sip.message import Request, Response, new_tag
from onhook.lines.sip.parties import called_number, calling_number, shown_headers
from onhook.lines.sip.screening import NO_ROOM, Refusal, refusal_of
from onhook.lines.sip.snapshot import LegIdentity, Snapshot
from onhook.lines.sip.transaction import Timing

log = logging.getLogger(__name__)

OUT_OF_DIALOG = {"BYE": 481, "INFO": 481, "UPDATE": 481}
"""What is answered to requests of dialogs that we do not know."""

MERGED = Refusal(482)
"""One call came here on two ways (RFC 3261 section 8.2.2.2)."""

AnyLeg = Leg | InboundLeg


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
        self._legs: dict[str, AnyLeg] = {}
        self._by_sip_call_id: dict[str, Leg] = {}
        self._inbound: dict[tuple[str, str], InboundLeg] = {}
        self._guard = Guard(clock)
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
        account = Account.of(trunk)
        leg = self._new_leg(
            LegIdentity(order.call_id, order.sip_call_id, trunk.id, account, send_text=trunk.send_reason_text)
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

    def trust(self, find_peer: FindPeer) -> None:
        """Take calls of the peers that `find_peer` knows."""
        self._guard.find_peer = find_peer

    def rename(self, call_id: str, to: str) -> None:
        """Know an unanswered incoming leg by another call's id. Raises `ValueError` when that has a leg."""
        if to in self._legs:
            raise ValueError(f"call {to} has a leg already")
        if (leg := self._incoming(call_id)) is not None:
            self._legs[to] = self._legs.pop(call_id)
            leg.rename(to)

    def ring(self, call_id: str) -> None:
        """Tell the caller of an incoming leg that it rings."""
        if (leg := self._incoming(call_id)) is not None:
            leg.ring()

    def answer(self, call_id: str, trunk: Trunk | None = None) -> None:
        """Answer an incoming leg; the 200 leaves once the dialog is durable."""
        if (leg := self._incoming(call_id)) is not None:
            leg.answer(trunk)

    def refuse(self, call_id: str, status: int, cause: Cause) -> None:
        """Refuse an unanswered incoming leg."""
        if (leg := self._incoming(call_id)) is not None:
            leg.refuse(status, cause)

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
        if stored.incoming_tag:
            self._resume_inbound(identity, stored, invite, cause)
        else:
            self._new_leg(identity).resume(stored, invite, cause)

    def live_legs(self) -> int:
        """How many legs are not settled."""
        return sum(1 for leg in self._legs.values() if not leg.is_settled)

    def remembered_legs(self) -> int:
        """How many legs are held, those included that only wait for late messages."""
        return len(self._legs)

    async def abandon(self) -> None:
        """Stop all work and forget all legs; nothing is ended on the wire."""
        for leg in self._legs.values():
            leg.abandon()
        self._legs.clear()
        self._by_sip_call_id.clear()
        self._inbound.clear()
        self.layer.drop_all()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- what the transaction layer brings

    def on_request(self, transaction: ServerTransaction) -> None:
        """Answer a new request of the far end."""
        request = transaction.request
        leg = self._leg_of(request)
        dialog = leg.dialog_of(request) if leg is not None else None
        if request.method == "CANCEL":
            self._take_cancel(transaction)
        elif leg is not None and dialog is not None:
            leg.on_request(transaction, dialog)
        elif request.method == "INVITE" and not request.to_tag:
            self._take_invite(transaction)
        else:
            self._answer_stranger(transaction)

    def on_ack(self, ack: Request) -> None:
        """Bring an ACK to the leg whose 2xx it answers."""
        leg = self._leg_of(ack)
        if leg is not None and leg.dialog_of(ack) is not None:
            leg.on_ack(ack)

    def on_stray_response(self, response: Response) -> None:
        """Bring a 2xx that outlived its transaction to its leg; a foreign branch or method finds none."""
        leg = self._by_sip_call_id.get(response.call_id)
        if leg is not None and 200 <= response.status < 300 and leg.is_answer(response):
            leg.on_invite_response(response)

    # --- calls that a far end starts

    def _take_invite(self, transaction: ServerTransaction) -> None:
        """Let a caller in, or refuse it without keeping anything of it."""
        invite = transaction.request
        found = self._guard.check(invite, transaction.source.host)
        if isinstance(found, Refusal):
            self._refuse(transaction, found)
            return
        earlier = self._inbound.get((invite.call_id, invite.from_tag))
        if earlier is not None and earlier.repeats(invite):
            self._refuse(transaction, MERGED)
        elif (refusal := refusal_of(invite)) is not None:
            self._refuse(transaction, refusal)
        elif self.live_legs() >= self._context.settings.max_legs:
            self._refuse(transaction, NO_ROOM)
        else:
            transaction.respond(100)
            self._begin(transaction, found.account)

    def _begin(self, transaction: ServerTransaction, account: str | None) -> None:
        """Start a leg and tell of it."""
        invite, source = transaction.request, transaction.source
        call_id = new_call_id(Dialect.NATIVE)
        identity = LegIdentity(call_id, invite.call_id, "", Account(None), send_text=False)
        sent_by = self._context.sent_by(source)
        dialog = Dialog.from_invite(
            invite, new_tag(), sent_by=sent_by, contact=contact_of(sent_by, source.transport), fallback=source
        )
        self._new_inbound(identity, transaction, dialog)
        self._context.events.on_event(
            Incoming(
                call_id=call_id,
                at=transaction.first_arrived_at,
                sip_call_id=invite.call_id,
                from_number=calling_number(invite),
                to_number=called_number(invite),
                peer=(source.host, source.port),
                headers=shown_headers(invite),
                account=account,
            )
        )

    def _resume_inbound(self, identity: LegIdentity, stored: Snapshot, invite: Request, cause: Cause) -> None:
        """Take over a leg that a far end started; over TCP the connection of its INVITE is gone."""
        way_back = reopened(invite, stored.destination)
        transaction = self.layer.adopt_server(invite, way_back, self, stored.sent_at)
        if stored.dialogs:
            dialog = stored.dialogs[0]
        else:
            sent_by = self._context.sent_by(way_back)
            contact = contact_of(sent_by, way_back.transport)
            dialog = Dialog.from_invite(
                invite, stored.incoming_tag, sent_by=sent_by, contact=contact, fallback=way_back
            )
        self._new_inbound(identity, transaction, dialog).resume(stored, cause)

    def _take_cancel(self, transaction: ServerTransaction) -> None:
        """Answer a CANCEL, and bring it to the leg whose INVITE it means (RFC 3261 section 9.2)."""
        invite, leg = self.layer.invite_of(transaction.request), self._leg_of(transaction.request)
        if invite is None:
            self._answer_stranger(transaction)
        elif isinstance(leg, InboundLeg) and leg.is_of(invite):
            transaction.respond(200, tag=leg.dialog.local_tag)
            leg.on_cancel(transaction)
        else:
            transaction.respond(200)

    def _refuse(self, transaction: ServerTransaction, refusal: Refusal) -> None:
        transaction.respond(refusal.status, tag=self._tag_for(transaction.request), headers=refusal.headers)
        transaction.drop()

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
        leg.audio = audio = open_audio(self._context, order.call_id, destination)
        request = build_invite(
            order,
            tag=new_tag(),
            sent_by=self._context.sent_by(destination),
            transport=destination.transport,
            user_agent=self._context.settings.user_agent,
            sdp=audio.offer(),
        )
        leg.prepare(request, destination, audio)

    def _new_leg(self, identity: LegIdentity) -> Leg:
        leg = Leg(self._context, identity, self._forget)
        self._legs[identity.call_id] = leg
        self._by_sip_call_id[identity.sip_call_id] = leg
        return leg

    def _new_inbound(self, identity: LegIdentity, transaction: ServerTransaction, dialog: Dialog) -> InboundLeg:
        leg = InboundLeg(self._context, identity, transaction, dialog, self._forget_inbound)
        self._legs[identity.call_id] = self._inbound[leg.key] = leg
        return leg

    def _forget(self, leg: Leg) -> None:
        self._legs.pop(leg.identity.call_id, None)
        self._by_sip_call_id.pop(leg.identity.sip_call_id, None)

    def _forget_inbound(self, leg: InboundLeg) -> None:
        self._legs.pop(leg.identity.call_id, None)
        if self._inbound.get(leg.key) is leg:  # The caller may have called again with the same Call-ID.
            del self._inbound[leg.key]

    def _leg_of(self, request: Request) -> AnyLeg | None:
        """Return the leg that a request of a far end names by Call-ID and From tag."""
        return self._inbound.get((request.call_id, request.from_tag)) or self._by_sip_call_id.get(request.call_id)

    def _incoming(self, call_id: str) -> InboundLeg | None:
        leg = self._legs.get(call_id)
        return leg if isinstance(leg, InboundLeg) else None

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
