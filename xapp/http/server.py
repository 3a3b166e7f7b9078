"""HTTP servers (uvicorn), each in a thread of its own, and the sockets that they listen on."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

from xapp.http.connection import ACCEPTED_AT_ONCE, BoundedConnection


def listen(host: str, port: int) -> socket.socket:
    """A bound socket to listen on (port 0 = any). Raises OSError with the address in it."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, _, _, address = found[0]
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except (OSError, UnicodeError) as error:
        raise cannot_listen(host, port, error) from None
    return listener


def cannot_listen(host: str, port: int, error: OSError | UnicodeError) -> OSError:
    """One line that names the address; a name that DNS could never have is a UnicodeError."""
    return OSError(f"cannot listen on {host}:{port}: {getattr(error, 'strerror', None) or error}")


class BackgroundServer:
    """Any ASGI app, served from a thread."""

    def __init__(self, app: FastAPI, host: str = "", port: int = 0, *, listener: socket.socket | None = None) -> None:
        """listener: a socket of `listen` instead of an address; it is closed with the server."""
        self._socket = listener or listen(host, port)
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http=BoundedConnection,
                backlog=ACCEPTED_AT_ONCE,
                ws="none",
                proxy_headers=False,  # who asks is who connects, whatever a header says
                log_level="error",
                access_log=False,
                lifespan="off",
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name=f"http-{self.port}", daemon=True
        )
        self._thread.start()

    def wait_started(self, timeout_s: float = 10.0) -> bool:
        """True once requests are answered."""
        until_s = time.monotonic() + timeout_s
        while not self._server.started and time.monotonic() < until_s and self._thread.is_alive():
            time.sleep(0.01)
        return self._server.started

    @property
    def connections(self) -> int:
        """How many stand."""
        return len(self._server.server_state.connections)

    def begin_close(self) -> None:
        """Have it stop soon: of several servers none then waits for the others."""
        self._server.should_exit = True

    def close(self) -> None:
        """Stop serving; open requests get one second."""
        self.begin_close()
        self._thread.join(timeout=1.5)
        self._socket.close()
