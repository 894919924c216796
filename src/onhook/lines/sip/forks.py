"""The dialogs that one INVITE of ours has made: whoever answers it makes one, and each must be ended."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from onhook.calls.causes import Cause
from onhook.lines.sip.clearance import Clearance
from onhook.lines.sip.context import Context
from onhook.lines.sip.dialog import Dialog
from onhook.lines.sip.evidence import Evidence
from onhook.lines.sip.message import Request
from onhook.lines.sip.snapshot import LegIdentity


@dataclass
class _Fork:
    dialog: Dialog
    invite: Request
    ack: bytes | None = None


class Forks:
    """The dialogs of one leg, by the far end's tag: their ACKs, and the BYEs that end them.

    `on_cleared` is called whenever one of them is settled, `changed` when the next life must know more.
    """

    def __init__(
        self,
        context: Context,
        identity: LegIdentity,
        evidence: Evidence,
        *,
        on_cleared: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self._context = context
        self._identity = identity
        self._evidence = evidence
        self._on_cleared = on_cleared
        self._changed = changed
        self._forks: dict[str, _Fork] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield the tags, the oldest dialog first."""
        return iter(self._forks)

    def __len__(self) -> int:
        """Count the dialogs."""
        return len(self._forks)

    def __contains__(self, tag: str) -> bool:
        """Say whether there is a dialog with this tag."""
        return tag in self._forks

    def __getitem__(self, tag: str) -> Dialog:
        """Return the dialog with this tag. Raises `KeyError`."""
        return self._forks[tag].dialog

    def add(self, tag: str, dialog: Dialog, invite: Request) -> None:
        """Keep a dialog that a 2xx to this INVITE has made."""
        self._forks[tag] = _Fork(dialog, invite)

    def dialog_of(self, request: Request) -> Dialog | None:
        """Return the dialog that a request of the far end is in (RFC 3261 section 12.2.2)."""
        fork = self._forks.get(request.from_tag)
        return fork.dialog if fork is not None and fork.dialog.local_tag == request.to_tag else None

    def live(self) -> tuple[Dialog, ...]:
        """Return the dialogs whose end is not known yet."""
        return tuple(fork.dialog for tag, fork in self._forks.items() if not self._evidence.is_over(tag))

    def acknowledge(self, tag: str) -> None:
        """ACK a 2xx for the first time; its repetitions get the same bytes again."""
        fork = self._forks[tag]
        if fork.ack is None:
            fork.ack = fork.dialog.ack(fork.invite).encode()
            self.repeat_ack(tag)

    def repeat_ack(self, tag: str) -> None:
        """Send the ACK again, if it was sent: the 2xx came again."""
        fork = self._forks[tag]
        if fork.ack is not None:
            self._context.network.send(fork.ack, fork.dialog.next_hop(self._context.network.resolved))

    def end(self, tag: str, cause: Cause) -> None:
        """Send the BYE, after the ACK that every 2xx gets, wanted or not (RFC 3261 section 13.2.2.4)."""
        self.acknowledge(tag)
        self.clearance(tag).send_bye(cause)

    def clearance(self, tag: str) -> Clearance:
        """Return what ends a dialog."""
        clearances = self._evidence.clearances
        if tag not in clearances:
            clearances[tag] = Clearance(
                self._context,
                self[tag],
                self._identity.account,
                send_text=self._identity.send_text,
                on_settled=self._on_cleared,
                changed=self._changed,
            )
        return clearances[tag]
