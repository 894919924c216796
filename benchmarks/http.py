"""The smallest HTTP/1.1 client: keep-alive, answers with a Content-Length or without a body."""

import json
import selectors
import socket


class Connection:
    """One TCP connection that is kept alive."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send a request, return the status and the body of its response."""
        self.socket.sendall(request)
        return self.read()

    def read(self) -> tuple[int, bytes]:
        """Return the status and the body of the next response. Raises `ConnectionError` when there is none."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        _, _, after = head.lower().partition(b"content-length:")
        length = int(after.split(b"\r\n", 1)[0] or 0)
        while len(body) < length:
            body += self._more()
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _more(self) -> bytes:
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("the server closed the connection")
        return data


def request(method: str, path: str, token: str, body: object = None) -> bytes:
    """Compose a request with a JSON body, or none."""
    content = b"" if body is None else json.dumps(body).encode()
    kind = "" if body is None else "Content-Type: application/json\r\n"
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n"
        f"Authorization: Bearer {token}\r\n{kind}Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def drive(port: int, requests: list[bytes], connections: int) -> dict[int, int]:
    """Send all requests over so many connections, one at a time on each; return how often each status came."""
    statuses: dict[int, int] = {}
    waiting = iter(requests)
    with selectors.DefaultSelector() as selector:
        for _, content in zip(range(connections), waiting, strict=False):
            connection = Connection(port)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.socket.sendall(content)
        while selector.get_map():
            for key, _ in selector.select():
                status, _ = key.data.read()
                statuses[status] = statuses.get(status, 0) + 1
                following = next(waiting, None)
                if following is None:
                    selector.unregister(key.fileobj)
                    key.data.close()
                else:
                    key.data.socket.sendall(following)
    return statuses
