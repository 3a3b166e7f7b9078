"""An image's root file system entered as a pod enters it: read-only, as the image's user, `/tmp` alone to write to."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

from root_filesystem import Image

PLACE_OF_CONFIGURATION = "/opt/ric/config"


class Container:
    """Commands in an image, in this machine's network. config: the folder to mount where the platform mounts one."""

    def __init__(self, image: Image, config: Path, variables: dict[str, str]) -> None:
        self._image, self._config, self._variables = image, config, variables
        # An engine makes the places to mount on, which a read-only root would not let us.
        (image.root / PLACE_OF_CONFIGURATION.lstrip("/")).mkdir(parents=True, exist_ok=True)
        (image.root / "tmp").chmod(0o1777)

    def run(self, *words: str, timeout_s: float = 100.0) -> subprocess.CompletedProcess[str]:
        """To its end, beside what else runs."""
        command = [*self._before(), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)

    def start(self, log: Path) -> Started:
        """What the image starts by itself."""
        return Started([*self._before("--unshare-pid", "--as-pid-1"), *self._image.start], log)

    def _before(self, *options: str) -> list[str]:
        environment = {"HOME": "/", **self._image.environment, **self._variables}
        return [
            *("bwrap", "--die-with-parent", "--new-session", "--unshare-ipc", *options),
            *("--ro-bind", str(self._image.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *("--perms", "1777", "--tmpfs", "/tmp"),
            *("--ro-bind", str(self._config), PLACE_OF_CONFIGURATION),
            *("--clearenv", *(word for pair in environment.items() for word in ("--setenv", *pair))),
            *("--chdir", self._image.working_folder),
            *self._as_user(),
        ]

    def _as_user(self) -> list[str]:
        """For root, the command is another user's, as in a pod: files stay root's. Whoever else runs this owns the
        files himself, and is called by the image's user's number.
        """
        user, group = str(self._image.user), str(self._image.group)
        if os.geteuid() != 0:
            return ["--unshare-user", "--uid", user, "--gid", group, "--cap-drop", "ALL"]
        drop = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "--no-new-privs"]
        return [*drop, "--inh-caps=-all", "--bounding-set=-all"]


class Started:
    """A container's first process, which is process 1 there."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._log = log
        reader, writer = os.pipe()
        with log.open("w") as file, os.fdopen(reader) as told:
            command = [command[0], "--info-fd", str(writer), *command[1:]]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, pass_fds=[writer]
            )
            os.close(writer)
            text = told.read()
        self.pid: int = json.loads(text)["child-pid"] if text else self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self, grace_s: float) -> int:
        """As an engine does: SIGTERM, and the exit status within the grace period."""
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(grace_s)

    def close(self) -> None:
        if self.running:
            self._process.kill()  # and with it what it started
            self._process.wait()

    def log(self) -> str:
        return self._log.read_text(encoding="utf-8")
