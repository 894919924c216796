"""The bodies of webhooks, by the dialect of their endpoint."""

from onhook.api.anunzi import payloads as anunzi
from onhook.api.native import payloads as native
from onhook.api.talkover import payloads as talkover
from onhook.calls.call import Dialect
from onhook.webhooks.courier import Renderer

RENDERERS: dict[Dialect, Renderer] = {
    Dialect.TALKOVER: talkover.render,
    Dialect.ANUNZI: anunzi.render,
    Dialect.NATIVE: native.render,
}
