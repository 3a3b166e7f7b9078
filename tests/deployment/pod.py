"""A rendered pod as a process on this machine: its command, environment, configuration and probes, without a cluster.

What Kubernetes would mount comes into folders of its own, and paths in the arguments and the environment are changed to
lead there. Nothing else of this machine's environment gets in; there is no home, and only the pod's writable folder for
temporary files.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sysconfig
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from chart import Rendered

READ_ONLY_ROOT = """
writable=$1; shift
for place in $(awk '{print $2}' /proc/self/mounts); do
    case $place in /proc*|/sys*|/dev*) ;; *) mount -o remount,bind,ro "$place" || exit 98 ;; esac
done
mount --bind "$writable" "$writable" && mount -o remount,bind,rw "$writable" || exit 98
cd "$writable" && exec "$@"
"""
"""Everything is read-only in the mount namespace of this shell but one folder; then it becomes the command."""


def can_make_root_read_only() -> bool:
    """Takes root and a kernel with mount namespaces."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        return False
    with TemporaryDirectory() as folder:
        tried = subprocess.run([*_read_only(folder), "touch", f"{folder}/x", f"{folder}/../x"], capture_output=True)
        return tried.returncode == 1 and (Path(folder) / "x").exists()


def _read_only(writable: str) -> list[str]:
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", READ_ONLY_ROOT, "sh", writable]


def _program(name: str) -> str:
    """Of this environment, as the image has it on its path."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    assert found is not None, name
    return found


class Pod:
    """Runs from the moment that it is made."""

    def __init__(self, rendered: Rendered, folder: Path, *, read_only_root: bool = False) -> None:
        self._rendered, self._container = rendered, rendered.container
        self._places = {mount["mountPath"]: folder / mount["name"] for mount in self._container["volumeMounts"]}
        for mount in self._container["volumeMounts"]:
            self._mount(mount["name"], self._places[mount["mountPath"]])
        command, *arguments = [*self._container["command"], *self._container["args"]]
        self._log = (folder / "log").open("w+")
        before = _read_only(str(self._places["/tmp"])) if read_only_root else []
        self.process = subprocess.Popen(
            [*before, _program(command), *map(self._moved, arguments)],
            env=self._environment(),
            cwd=self._places["/tmp"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def probe(self, name: str) -> int:
        """The HTTP status that the kubelet would see; 0 while nobody answers."""
        get = self._container[name]["httpGet"]
        return self._get(get["path"], get["port"]).status_code if self._answers(get) else 0

    def wait_for(self, name: str, timeout_s: float) -> None:
        """Until a probe succeeds; no event announces it, not even in a cluster. AssertionError with the pod's log."""
        give_up_at = time.monotonic() + timeout_s
        while self.probe(name) != 200:
            assert self.process.poll() is None, f"the pod ended with {self.process.returncode}\n{self.log()}"
            assert time.monotonic() < give_up_at, f"{name} did not succeed within {timeout_s:g} s\n{self.log()}"
            time.sleep(0.1)

    def metrics(self) -> str:
        """What the ServiceMonitor collects."""
        (endpoint,) = self._rendered.one("ServiceMonitor")["spec"]["endpoints"]
        return self._get(endpoint["path"], endpoint["port"]).text

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self._get("/ric/v1/status", "http").json()
        return found

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A further command in the pod, as `kubectl exec` starts one."""
        return subprocess.run(
            [_program(words[0]), *map(self._moved, words[1:])],
            env=self._environment(),
            cwd=self._places["/tmp"],
            capture_output=True,
            text=True,
            timeout=100,
        )

    def stop(self) -> int:
        """As Kubernetes does: SIGTERM, and the exit status within the grace period."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=self._rendered.pod["terminationGracePeriodSeconds"])

    def log(self) -> str:
        self._log.flush()
        return Path(self._log.name).read_text(encoding="utf-8")

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self._log.close()

    def written(self) -> list[str]:
        """Files in the pod's writable folder."""
        return [path.name for path in self._places["/tmp"].rglob("*") if path.is_file()]

    def _mount(self, name: str, place: Path) -> None:
        place.mkdir()
        (volume,) = (volume for volume in self._rendered.pod["volumes"] if volume["name"] == name)
        if "configMap" in volume:
            for file, text in self._rendered.one("ConfigMap", volume["configMap"]["name"])["data"].items():
                (place / file).write_text(text, encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        spec = {name: self._moved(value) for name, value in self._rendered.environment.items()}
        lent = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        image = {"HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUNBUFFERED": "1"}
        tmp = {"TMPDIR": str(self._places["/tmp"])}
        return {**lent, **image, **tmp, "HOSTNAME": self._rendered.pod["hostname"], **spec}

    def _moved(self, text: str) -> str:
        for path, place in self._places.items():
            if text == path or text.startswith(f"{path}/"):
                return f"{place}{text.removeprefix(path)}"
        return text

    def _port(self, name: str) -> int:
        (port,) = (port for port in self._container["ports"] if port["name"] == name)
        number: int = port["containerPort"]
        return number

    def _answers(self, get: dict[str, Any]) -> bool:
        try:
            self._get(get["path"], get["port"])
        except httpx.TransportError:
            return False
        return True

    def _get(self, path: str, port: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self._port(port)}{path}", trust_env=False, timeout=10.0)
