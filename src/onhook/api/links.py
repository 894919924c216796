"""Links that lead back to us."""

from urllib.parse import quote


def recording_url(public_url: str, call_id: str) -> str:
    """Return where a call's recording can be downloaded, with an API key."""
    return f"{public_url}/v1/calls/{quote(call_id, safe='')}/recording"
