"""Seeing a connection close from the other end, at once and without reading from it: by the kernel's own word."""

import asyncio
import select
import socket


class Watched:
    """One connection of ours as a provider, and what it was last used for; `closed_at` by the loop's clock."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.closed = asyncio.Event()
        self.closed_at = 0.0


class Watch:
    """All connections that were watched."""

    def __init__(self) -> None:
        self.all: list[Watched] = []
        self._epoll = select.epoll()
        self._by_descriptor: dict[int, Watched] = {}
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._on_events)

    def add(self, transport: asyncio.BaseTransport, path: str) -> Watched:
        """Watch a connection; one that is watched already has a new use."""
        raw: socket.socket = transport.get_extra_info("socket")
        known = self._by_descriptor.get(raw.fileno())
        if known is not None and not known.closed.is_set():
            known.path = path
            return known
        watched = self._by_descriptor[raw.fileno()] = Watched(path)
        self.all.append(watched)
        self._epoll.register(raw.fileno(), select.EPOLLRDHUP)
        return watched

    def gone(self, watched: Watched) -> None:
        """Note that we have closed a connection ourselves."""
        if not watched.closed.is_set():
            watched.closed_at = self._loop.time()
            watched.closed.set()

    def close(self) -> None:
        """Watch no more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _on_events(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            self._epoll.unregister(descriptor)
            self.gone(self._by_descriptor[descriptor])
