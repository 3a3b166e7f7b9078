"""A FastAPI application served by uvicorn in a thread of its own."""

from __future__ import annotations

import socket
import threading
import time

import uvicorn
from fastapi import FastAPI

START_TIMEOUT_S = 10.0


class HttpThread:
    """Listening as soon as it is made; `port` says where."""

    def __init__(self, app: FastAPI, host: str, port: int, name: str) -> None:
        """port 0 = any free one. Raises OSError when the address cannot be had, TimeoutError when it does not start."""
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind(address)
        except OSError:
            self._socket.close()
            raise
        self.port = int(self._socket.getsockname()[1])
        # One second of grace is plenty on a loopback; signal handlers are the command's, not uvicorn's.
        config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        sockets = [self._socket]
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=sockets), name=name, daemon=True)
        self._thread.start()
        give_up_at = time.monotonic() + START_TIMEOUT_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > give_up_at:
                self.close()
                raise TimeoutError(f"{name} did not start on {host}:{self.port}")
            time.sleep(0.005)

    def close(self) -> None:
        """Stop serving and wait for the thread. Idempotent."""
        self._server.should_exit = True
        self._thread.join(START_TIMEOUT_S)
        self._socket.close()
