"""Our 2xx to an INVITE: said until it is heard."""

from collections.abc import Callable

from onhook.clock import Timer
from onhook.lines.sip.context import Context
from onhook.lines.sip.machine import ServerTransaction


class RepeatedAnswer:
    """A 2xx of ours, repeated until its ACK comes or 64*T1 pass (RFC 3261 section 13.3.1.4), over any transport.

    `on_lost` is called when no ACK came.
    """

    def __init__(self, context: Context, transaction: ServerTransaction, on_lost: Callable[[], None]) -> None:
        self._context = context
        self._transaction = transaction
        self._interval = context.layer.timing.t1
        self._repeat = self._start()
        self._deadline = context.clock.call_later(context.layer.timing.timeout, self._give_up)
        self._on_lost = on_lost

    def stop(self) -> None:
        """The ACK came, or nobody cares any more."""
        self._repeat.cancel()
        self._deadline.cancel()

    def _start(self) -> Timer:
        return self._context.clock.call_later(self._interval, self._again)

    def _again(self) -> None:
        self._transaction.respond_again()
        self._interval = min(self._interval * 2, self._context.layer.timing.t2)
        self._repeat = self._start()

    def _give_up(self) -> None:
        self._repeat.cancel()
        self._on_lost()
