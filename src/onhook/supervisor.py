"""The process that watches the node: no sockets, no database, nothing that could make it fall.

It starts the node (and, for the sandbox, the carrier) as child processes, starts the node again when it
dies, and hands on the wish to stop. The node learns of the supervisor's own death by the end of its
standard input. Ports are chosen here, once, so that a restarted node is found where its calls expect it.
"""

import contextlib
import errno
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from onhook.settings import Settings

SHORT_LIFE_S = 5.0
MAX_SHORT_LIVES = 5
STOP_LIMIT_S = 10.0
LAST_WORDS_S = 5.0
"""How long a sandbox carrier goes on after its supervisor's death: the node is saying its goodbyes to it."""
LOOK_UPS = 48
"""Host names that a node can look up at once. libuv's own 4 would be taken by one webhook whose name servers are dead,
and every other webhook, and a trunk's name, would wait for it."""
SIP_SOCKETS = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
"""What SIP listens on, at one port."""
PORT_TRIES = 20
CHOSEN_PORTS = range(20_000, 32_000)
"""Below what systems give to outgoing connections: one of those could take the port before the node binds it."""
CANNOT_START = 78
"""Exit code of a node that must not be started again: its configuration is at fault (EX_CONFIG)."""


class Supervisor:
    """Runs one node, and the sandbox carrier when asked for, until told to stop."""

    def __init__(self, settings: Settings, config: Path | None, *, sandbox: bool) -> None:
        http_host, http_port = settings.http_address
        sip_host, sip_port = settings.sip_address
        self._environment = os.environ | {
            "ONHOOK_DATA_DIR": str(settings.data_dir),
            "ONHOOK_HTTP_BIND": f"{http_host}:{http_port or free_port(http_host, socket.SOCK_STREAM)}",
            "ONHOOK_SIP_BIND": f"{sip_host}:{sip_port or free_port(sip_host, *SIP_SOCKETS)}",
            "UV_THREADPOOL_SIZE": os.environ.get("UV_THREADPOOL_SIZE", str(LOOK_UPS)),
        }
        self._config = ["--config", str(config)] if config else []
        self._sandbox = sandbox
        self._stopping = False
        self._node: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Keep the node alive until SIGTERM or SIGINT; return the exit code."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._stop())
        if not self._sandbox:
            return self._keep_node_alive([])
        port = free_port("127.0.0.1", *SIP_SOCKETS)
        carrier = _start(["onhook", "phone", "--port", str(port), "--quiet", "--supervised"], self._environment)
        try:
            return self._keep_node_alive(["--carrier", f"sip:127.0.0.1:{port};transport=udp"])
        finally:
            _end(carrier)

    def _keep_node_alive(self, arguments: list[str]) -> int:
        short_lives = 0
        has_lived = False  # What it has once started with was good; now the calls of its last life need it.
        while not self._stopping:
            started = time.monotonic()
            self._node = node = _start(["onhook.node", *self._config, *arguments], self._environment)
            if self._stopping:
                node.terminate()  # The signal came while the node was being started: `_stop` did not know it yet.
            code = node.wait()
            if self._stopping:
                break
            if code == CANNOT_START and not has_lived:
                return code
            has_lived = True
            short_lives = short_lives + 1 if time.monotonic() - started < SHORT_LIFE_S else 0
            print(f"onhook: the node died (exit code {code}), starting it again", file=sys.stderr, flush=True)
            if short_lives >= MAX_SHORT_LIVES:
                print("onhook: the node dies again and again, giving up", file=sys.stderr, flush=True)
                return 1
            time.sleep(min(2.0, 0.25 * max(0, short_lives - 1)))
        return 0

    def _stop(self) -> None:
        """Take a signal, between any two steps of `run`: so no lock, which `run` might hold."""
        self._stopping = True
        if self._node is not None:
            self._node.terminate()


def leave_with_supervisor() -> None:
    """Have this process leave some time after its supervisor died, which is when standard input ends."""

    def wait() -> None:
        sys.stdin.buffer.read()
        time.sleep(LAST_WORDS_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()


def free_port(host: str, *kinds: socket.SocketKind) -> int:
    """Return a port that is free now for each of these kinds. Raises `OSError`.

    A port that is free for UDP is often not for TCP: a minute long it belongs to a connection that was closed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(PORT_TRIES):
        port = random.choice(CHOSEN_PORTS)
        with contextlib.ExitStack() as probes, contextlib.suppress(OSError):
            for kind in kinds:
                probes.enter_context(socket.socket(family, kind)).bind((host, port))
            return port
    raise OSError(errno.EADDRINUSE, f"no free port at {host}")


def _start(command: list[str], environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Run a module with its arguments. Its standard input is a pipe that we keep open as our sign of life."""
    return subprocess.Popen(
        [sys.executable, "-m", *command],
        env=environment,
        stdin=subprocess.PIPE,
        # A signal typed at the terminal reaches us alone; we hand it on.
        process_group=0,
    )


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
