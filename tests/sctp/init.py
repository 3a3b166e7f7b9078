"""The first process of a kernel that has SCTP: makes the machine usable, runs a command, says how it ended, powers off.

tests/sctp/run.sh boots it. The root is the host's file system, read-only; what is written goes to memory, the command's
exit status to a file of the host's. Only the standard library, no tool of the system: a container may have few.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
import traceback
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_FINIT_MODULE = 313
"""x86-64."""
RB_POWER_OFF = 0x4321FEDC
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
MOUNTS = (
    ("proc", "/proc", "proc", ""),
    ("sysfs", "/sys", "sysfs", ""),
    ("tmpfs", "/run", "tmpfs", "size=512m"),
)
"""/dev the kernel has mounted itself."""
MODULES = ("lib/crc-ccitt", "net/ipv6/ipv6", "net/ipv4/udp_tunnel", "net/ipv6/ip6_udp_tunnel", "net/sctp/sctp")
"""In the order in which they need each other."""


def check(result: int, what: str) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str, options: str) -> None:
    check(LIBC.mount(source.encode(), target.encode(), kind.encode(), 0, options.encode()), f"mount {target}")


def load(module: Path) -> None:
    with module.open("rb") as file:
        check(LIBC.syscall(SYS_FINIT_MODULE, file.fileno(), b"", 0), f"load {module.name}")


def loopback_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


def main(share: str) -> None:
    """share: a folder of the host's that may be written to; its file `command` says where and what to run, by lines."""
    folder, *command = Path(share, "command").read_text().splitlines()
    for each in MOUNTS:
        mount(*each)
    mount("none", "/mnt", "hostfs", share)
    Path("/mnt/booted").touch()
    os.mkdir("/run/tmp")
    loopback_up()
    for module in MODULES:
        load(Path("/usr/lib/uml/modules", os.uname().release, "kernel", f"{module}.ko"))
    # The kernel has no HMAC for the cookies of an association; nobody attacks loopback.
    Path("/proc/sys/net/sctp/cookie_hmac_alg").write_text("none")
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/run/tmp",
        "TMPDIR": "/run/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NUMBA_CACHE_DIR": "/run/tmp",
        "PYTHONPATH": folder,
    }
    ended = subprocess.run(command, cwd=folder, env=environment)
    Path("/mnt/status").write_text(str(ended.returncode))


if __name__ == "__main__":
    try:
        main(sys.argv[1])  # the kernel adds words of its own
    except BaseException:  # the end of the first process is a kernel's panic: whatever it is, say it and power off
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os.sync()
        LIBC.reboot(RB_POWER_OFF)
