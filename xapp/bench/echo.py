"""The other end of `stackmac bench rmr`, a process of its own, as an xApp's peers are:
`python -m xapp.bench.echo KIND`.

It answers each message with what it got, says its port on standard output, and ends with its standard input.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from xapp.rmr.si95 import Si95Transport
from xapp.rmr.transport import RIC_CONTROL_ACK

READ_BYTES = 1 << 16
PATIENCE_S = 0.2
SI95, SOCKET = "si95", "socket"


@contextmanager
def echo(kind: str) -> Iterator[int]:
    """The port at which SI95, or a bare SOCKET, is answered meanwhile."""
    arguments = [sys.executable, "-m", "xapp.bench.echo", kind]
    process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # nosec B603 # this Python, no shell
    assert process.stdin is not None and process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def echo_si95() -> None:
    transport = Si95Transport("127.0.0.1", 0)
    print(transport.port, flush=True)
    while True:
        if (message := transport.receive(PATIENCE_S)) is not None:
            transport.reply(message, RIC_CONTROL_ACK, message.payload)


def echo_socket() -> None:
    """Blocks in the kernel; nothing is framed, queued or routed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        far, _ = listener.accept()
    far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while data := far.recv(READ_BYTES):
        far.sendall(data)


if __name__ == "__main__":
    run = echo_si95 if sys.argv[1:] == [SI95] else echo_socket
    threading.Thread(target=run, daemon=True).start()
    sys.stdin.buffer.read()
