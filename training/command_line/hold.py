"""A folder or a file that one process at a time works in: a second one is refused in a line that names the first.

What decides is a lock of the operating system on a file beside it, which ends with the process, however that ends. What
the lock file says is only who that is; a file that is left by a process that was killed holds nobody up.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from policy.errors import UserMistake
from training.command_line.result_file import is_special

UNABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""A file system without locks: nothing is held there, and nobody refused."""


class InUse(UserMistake):
    """Another process works there: one line that names it."""


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Be the only one who works in `folder`, which is made if it is not there, and goes again if it stays empty.

    Raises InUse.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _hold(folder / ".lock", folder, "directory"):
            yield
    finally:
        if is_new:
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def hold_file(file: str, *, wait: bool = False) -> Iterator[None]:
    """Be the only one who makes `file`; "", - and devices are nobody's. wait: for whoever does, and raise no InUse."""
    if file in ("", "-") or is_special(file):
        yield
        return
    path = Path(file)
    with _hold(path.with_name(f".{path.name}.lock"), path, "file", wait=wait):
        yield


@contextmanager
def _hold(lock: Path, what: Path, kind: str, *, wait: bool = False) -> Iterator[None]:
    held = _locked(lock, wait=wait)
    if held is None:
        raise InUse(f"{what}: {_holder(lock)} works there: wait until it is done, or choose another {kind}")
    with held:
        held.truncate(0)
        held.write(f"process {os.getpid()} ({' '.join([Path(sys.argv[0]).name, *sys.argv[1:2]])})\n{_host()}\n")
        held.flush()
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # first, and then let go: whoever waits for it looks whether it is still there


def _locked(lock: Path, *, wait: bool) -> IO[str] | None:
    """The lock's file, open; None = another process has it."""
    while True:
        file = lock.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            if error.errno not in UNABLE:
                file.close()
                if isinstance(error, BlockingIOError):
                    return None
                raise
        with suppress(FileNotFoundError):
            if os.fstat(file.fileno()).st_ino == lock.stat().st_ino:
                return file
        file.close()  # whoever had it has taken the file away meanwhile


def _holder(lock: Path) -> str:
    with suppress(OSError, ValueError):
        who, host = lock.read_text(encoding="utf-8").splitlines()
        return who if host == _host() else f"{who} on {host}"
    return "another process"


def _host() -> str:
    return socket.gethostname()
