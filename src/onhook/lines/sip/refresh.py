"""Our side of a session timer (RFC 4028): refreshing the session, or missing the peer's refresh."""

import random
from collections.abc import Callable

from onhook.calls.causes import Cause, Reason
from onhook.clock import Timer
from onhook.lines.sip.audio import Audio
from onhook.lines.sip.context import ALLOW, Context
from onhook.lines.sip.credentials import Account, Tries
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.machine import Failure
from onhook.lines.sip.message import Header, Request, Response
from onhook.lines.sip.session_timer import Refresher, SessionTimer, on_answer, refresh_headers, retry_interval

EXPIRED = Cause("system", Reason.SESSION_EXPIRED, q850=102)
LOST = Cause("system", Reason.DIALOG_LOST, q850=41)

DEFAULT_INTERVAL_S = 1800

GLARE_WAIT_S = {True: (2.1, 4.0), False: (0.0, 2.0)}
"""How long to wait after a 491, by whether the Call-ID is ours (RFC 3261 section 14.1)."""

KEPT_ACKS = 4
"""A peer may repeat the 2xx to an earlier refresh, too."""

RETRIES_PER_INTERVAL = 10
"""A refused refresh is tried again after this part of the interval; three or so fit in before the session expires."""


class SessionRefresh:
    """The session timer of one dialog.

    `end` is called with a cause when the session ran out or the far end lost the dialog, `changed` when the dialog's
    CSeq or target moved.
    """

    def __init__(
        self, context: Context, account: Account, *, end: Callable[[Cause], None], changed: Callable[[], None]
    ) -> None:
        self._context = context
        self._account = account
        self._end = end
        self._changed = changed
        self._dialog: Dialog | None = None
        self._audio: Audio | None = None
        self._timer: SessionTimer | None = None
        self._running: list[Timer] = []
        self._allow: list[str] = []
        self._tries: Tries = {}
        self._pending: Request | None = None
        self._acks: dict[int, bytes] = {}
        self._owns_call_id = True

    def start(self, dialog: Dialog, audio: Audio, answer: Response) -> SessionTimer | None:
        """Begin with what the 2xx to our INVITE said; return the timer that runs now."""
        self._dialog, self._audio = dialog, audio
        self.renew(self._timer_of(answer))
        return self._timer

    def serve(self, dialog: Dialog, audio: Audio, timer: SessionTimer | None, *, allow: list[str]) -> None:
        """Begin with the timer that our 2xx to a far end's INVITE names; `allow` is what that INVITE allows."""
        self._dialog, self._audio, self._allow = dialog, audio, allow
        self._owns_call_id = False
        self.renew(timer)

    def renew(self, timer: SessionTimer | None) -> None:
        """A refresh went through, ours or the peer's; the clocks begin anew. None: no timer runs from now on."""
        self.stop_timers()
        self._timer = timer
        if timer is None or self._dialog is None:
            return
        self._later(timer.dead_after_s, lambda: self._end(EXPIRED))
        if timer.refresher is Refresher.US:
            self._tries = {}
            self._later(timer.refresh_after_s, self._refresh)

    @property
    def is_pending(self) -> bool:
        """True while a refresh of ours waits for its response: the peer's own is glare then."""
        return self._pending is not None

    @property
    def interval_s(self) -> int:
        """The interval that we would like, for a peer that leaves the choice to us."""
        return self._timer.interval_s if self._timer is not None else DEFAULT_INTERVAL_S

    def stop(self) -> None:
        """The call is ending: refresh no more. A response on its way is still acknowledged."""
        self.stop_timers()
        self._timer = None

    def stop_timers(self) -> None:
        """Forget the running clocks."""
        for timer in self._running:
            timer.cancel()
        self._running.clear()

    def _later(self, delay: float, callback: Callable[[], None]) -> None:
        self._running.append(self._context.clock.call_later(delay, callback))

    def _refresh(self, credentials: list[Header] | None = None) -> None:
        dialog, audio, timer = self._dialog, self._audio, self._timer
        if dialog is None or audio is None or timer is None:
            return
        body = audio.offer() if timer.method == "INVITE" else b""
        if credentials is None:
            credentials = self._account.headers(timer.method, dialog.request_uri(), body)
        headers = [("Allow", ALLOW), ("Supported", "timer"), *refresh_headers(timer), *credentials]
        request = dialog.request(timer.method, headers=headers, body=body)
        self._pending = request
        hop = dialog.next_hop(self._context.network.resolved)
        self._context.layer.send(
            request,
            hop,
            lambda response: self._on_response(request, response),
            self._on_failure,
        )
        self._changed()

    def _on_response(self, request: Request, response: Response) -> None:
        if response.status < 200:
            return
        if response.status < 300 and request.method == "INVITE":
            self._acknowledge(request, response)
        if request is not self._pending:
            return
        self._pending = None
        if self._timer is None or self._dialog is None:
            return
        if response.status < 300:
            self._refreshed(self._dialog, response)
        elif response.status in (408, 481):
            self._end(LOST)  # RFC 3261 section 12.2.1.2.
        elif response.status == 491:
            self._later(random.uniform(*GLARE_WAIT_S[self._owns_call_id]), self._refresh)
        elif not self._meet(self._dialog, self._timer, request, response):
            self._try_later(self._timer, response.number("Retry-After") or 0)

    def _try_later(self, timer: SessionTimer, at_least_s: float = 0) -> None:
        """A refusal does not end the session, nor does a network that is away; only its expiry does (section 10)."""
        self._later(max(at_least_s, timer.interval_s / RETRIES_PER_INTERVAL), self._refresh)

    def _refreshed(self, dialog: Dialog, response: Response) -> None:
        if self._audio is not None:
            self._audio.take(response)
        dialog.refresh_target(response)
        self.renew(self._timer_of(response))
        self._changed()

    def _timer_of(self, answer: Response) -> SessionTimer | None:
        """Read a 2xx; one that does not say what its sender allows takes back nothing that was said before."""
        self._allow = answer.raw("Allow") or self._allow
        return on_answer(answer.first("Session-Expires"), allow=self._allow)

    def _meet(self, dialog: Dialog, timer: SessionTimer, request: Request, response: Response) -> bool:
        """Try again at once where the refusal says how; False where it does not."""
        credentials: list[Header] | None = None
        if response.status in (401, 407):
            credentials = self._account.answer(
                response, self._tries, request.method, dialog.request_uri(), request.body
            )
            if credentials is None:
                return False
        elif response.status == 422:
            interval = retry_interval(response.first("Min-SE"), timer.interval_s)
            if interval is None:
                return False
            self._timer = SessionTimer(timer.refresher, interval, timer.method)
        elif response.status in (405, 501) and timer.method == "UPDATE":
            self._timer = SessionTimer(timer.refresher, timer.interval_s, "INVITE")
        else:
            return False
        self._refresh(credentials)
        return True

    def _acknowledge(self, request: Request, response: Response) -> None:
        """ACK a 2xx, at the target that it names (RFC 3261 section 12.2.1.2); its repetitions get the same bytes."""
        if self._dialog is None:
            return
        sequence = request.cseq.sequence
        if sequence not in self._acks:
            self._dialog.refresh_target(response)
            while len(self._acks) >= KEPT_ACKS:
                del self._acks[next(iter(self._acks))]
            self._acks[sequence] = self._dialog.ack(request).encode()
        self._context.network.send(self._acks[sequence], self._dialog.next_hop(self._context.network.resolved))

    def _on_failure(self, failure: Failure) -> None:
        """No response is a 408 (RFC 3261 section 8.1.3.1)."""
        self._pending = None
        if self._timer is None:
            return
        if failure is Failure.TIMEOUT:
            self._end(LOST)
        else:
            self._try_later(self._timer)
