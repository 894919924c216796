"""What a caller can do against RFC 3261, as questions to one message. Each answers with the faults in words."""

from onhook.lines.sandbox.session import Dialog
from onhook.lines.sandbox.uas import Request, Response, parameter, uri_of


def faults_of_invite(request: Request, earlier_cseq: int, *, cancelled: bool) -> list[str]:
    """Judge an INVITE outside a dialog; `earlier_cseq` is that of the last one under this Call-ID, or 0."""
    faults = []
    if cancelled:
        faults.append("new INVITE after a CANCEL")
    if request.cseq <= earlier_cseq:
        faults.append(f"new INVITE with CSeq {request.cseq} after {earlier_cseq}")
    if not request.branch.startswith("z9hG4bK"):
        faults.append("INVITE without an RFC 3261 branch")
    if not parameter(request.header("From"), "tag"):
        faults.append("INVITE without a From tag")
    if len(request.values("Contact")) != 1:
        faults.append("INVITE without exactly one Contact")
    return faults


def faults_of_cancel(request: Request, invite: Request, *, replied: bool) -> list[str]:
    """Judge a CANCEL against its INVITE (RFC 3261 9.1): after a 1xx, with the same URI, To, CSeq and Route."""
    faults = []
    if not replied:
        faults.append("CANCEL before any provisional response")
    if request.uri != invite.uri:
        faults.append("CANCEL with another Request-URI than its INVITE")
    if request.cseq != invite.cseq:
        faults.append(f"CANCEL with CSeq {request.cseq}, its INVITE has {invite.cseq}")
    if request.to_tag is not None:
        faults.append("CANCEL with a To tag")
    if request.values("Route") != invite.values("Route"):
        faults.append("CANCEL with another Route than its INVITE")
    return faults


def faults_of_refusal_ack(request: Request, final: Response, invite: Request) -> list[str]:
    """Judge the ACK of a final of 300 or more (RFC 3261 17.1.1.3): same To tag, CSeq number and Request-URI."""
    faults = []
    if request.to_tag != final.to_tag:
        faults.append(f"ACK of the {final.status} with another To tag")
    if request.cseq != invite.cseq:
        faults.append(f"ACK of the {final.status} with another CSeq number")
    if request.uri != invite.uri:
        faults.append(f"ACK of the {final.status} with another Request-URI than its INVITE")
    return faults


def misrouted(request: Request, dialog: Dialog, routes: tuple[str, ...]) -> tuple[int, str] | None:
    """Judge where a request in the dialog was sent (RFC 3261 12.2.1.1).

    `routes` is the route set as the caller must use it. Returns the status that refuses the request and the
    fault in words, None when all is right.
    """
    if tuple(uri_of(route) for route in request.values("Route")) != routes:
        return 403, f"{request.method} with the wrong route set"
    if request.uri != dialog.contact:
        return 481, f"{request.method} sent to another Request-URI than the Contact"
    return None
