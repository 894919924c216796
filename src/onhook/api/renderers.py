"""The bodies of webhooks, by the dialect of their endpoint."""

from collections.abc import Mapping
from functools import partial

from onhook.api.anunzi import payloads as anunzi
from onhook.api.native import payloads as native
from onhook.api.talkover import payloads as talkover
from onhook.calls.call import Dialect
from onhook.webhooks.courier import Renderer


def renderers(public_url: str | None = None) -> Mapping[Dialect, Renderer]:
    """Return what makes the bodies; with `public_url` they link to recordings."""
    return {
        Dialect.TALKOVER: Renderer(partial(talkover.render, public_url=public_url)),
        Dialect.ANUNZI: Renderer(partial(anunzi.render, public_url=public_url), anunzi.WITH_LOG),
        Dialect.NATIVE: Renderer(native.render),
    }
