"""The configuration in force: the descriptor's file, looked at again and again.

By content, not by events: a Kubernetes ConfigMap is swapped by symbolic links, of which inotify sees the first only.
What can change while the xApp runs takes effect; for the rest a restart is asked for; a file that cannot be used
changes nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xapp.config.model import (
    CONFIG_IN_POD,
    NAME,
    ConfigError,
    Controls,
    NoDescriptor,
    parse_controls,
    parse_descriptor,
    read_descriptor,
)

log = logging.getLogger(__name__)

LIVE = (
    "a1.floor_window_periods",
    "a1.slices",
    "decision_deadline_ms",
    "lease_periods",
    "log_level",
    "ric.poll_period_s",
    "stale_after_periods",
)
"""Fields that take effect while the xApp runs; every other one needs a restart."""


PATH_VARIABLES = ("XAPP_DESCRIPTOR_PATH", "CONFIG_FILE")
DEFAULT_PATHS = f"Default: {', '.join(PATH_VARIABLES)} (a file or its folder), or {CONFIG_IN_POD}."
"""For the help of commands."""


def default_path(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where the platform puts the descriptor: XAPP_DESCRIPTOR_PATH or CONFIG_FILE (a file, or its folder), or the place
    where the generated chart mounts it; None if it is at none of them.
    """
    for name in (*map(environ.get, PATH_VARIABLES), CONFIG_IN_POD):
        if name:
            path = Path(name)
            path = path / Path(CONFIG_IN_POD).name if path.is_dir() else path
            if path.is_file():
                return path
    return None


def descriptor_path(given: Path | None, environ: Mapping[str, str] = os.environ) -> Path:
    """The descriptor of whoever was started with --config `given`, or without one. Raises NoDescriptor."""
    path = given or default_path(environ)
    if path is None:
        named = [f"{name} names {environ[name]!r}" for name in PATH_VARIABLES if environ.get(name)]
        nowhere = f" ({' and '.join(named)}, where there is none)" if named else ""
        raise NoDescriptor(f"no configuration: give --config, or have a descriptor at {CONFIG_IN_POD}{nowhere}")
    return path


class Configuration:
    """What is in force, and whether the file says something else. Thread safe; `poll` reads a file."""

    def __init__(self, controls: Controls, *, document: dict[str, Any] | None = None) -> None:
        """Without a file: nothing changes. `document`: the descriptor that the controls come from."""
        self._lock = threading.Lock()
        self._controls = controls
        self._document = document or {}
        self._path: Path | None = None
        self._overrides: dict[str, Any] = {}
        self._digest = ""
        """Of the content in force."""
        self._refused_digest = ""
        self._error = ""
        self._restart_needed: tuple[str, ...] = ()

    @classmethod
    def from_file(cls, path: Path, overrides: Mapping[str, Any] | None = None) -> Configuration:
        """Read the descriptor at `path`; `overrides` are controls that win over the file's. Raises ConfigError."""
        content = read_descriptor(path)
        document, controls = _parse(content, path, overrides or {})
        made = cls(controls, document=document)
        made._path, made._overrides = path, dict(overrides or {})
        made._digest = hashlib.sha256(content).hexdigest()
        return made

    @property
    def controls(self) -> Controls:
        return self._controls

    @property
    def name(self) -> str:
        """The descriptor's name: the xApp's instance name on the platform."""
        return str(self._document.get("name") or NAME)

    @property
    def version(self) -> str:
        """The descriptor's version."""
        return str(self._document.get("version") or version(NAME))

    def poll(self) -> bool:
        """Look at the file; True if what is in force has changed. A content that cannot be used is reported once."""
        if self._path is None:
            return False
        try:
            content = read_descriptor(self._path)
        except ConfigError as error:
            return self._refuse("", str(error))
        digest = hashlib.sha256(content).hexdigest()
        with self._lock:
            if digest == self._refused_digest:
                return False
            self._refused_digest = ""
            if digest == self._digest:
                self._error = ""
                return False
        try:
            document, wanted = _parse(content, self._path, self._overrides)
        except ConfigError as error:
            return self._refuse(digest, str(error))
        with self._lock:
            before = self._controls
            self._controls = _with_live_fields(before, wanted)
            self._restart_needed = tuple(_differences(self._controls, wanted))
            self._document, self._digest, self._error = document, digest, ""
            changed = tuple(_differences(before, self._controls))
        if self._restart_needed:
            log.warning("configuration: %s take effect after a restart only", ", ".join(self._restart_needed))
        log.info("configuration read again: %s", ", ".join(changed) or "nothing changed that is in force")
        return bool(changed)

    def status(self) -> dict[str, Any]:
        """`path`, `sha256` of the content in force, `error` (why a newer one is not), `restart_needed` (fields)."""
        with self._lock:
            return {
                "path": str(self._path or ""),
                "sha256": self._digest,
                "error": self._error,
                "restart_needed": list(self._restart_needed),
            }

    def document(self) -> dict[str, Any]:
        """The whole descriptor with the controls in force."""
        with self._lock:
            document, controls = dict(self._document), self._controls
        document.setdefault("name", self.name)
        document.setdefault("version", self.version)
        return {**document, "controls": controls.model_dump(mode="json", exclude_none=True)}

    def _refuse(self, digest: str, error: str) -> bool:
        with self._lock:
            news = error != self._error
            self._error = error
            self._refused_digest = digest
        if news:
            log.error("the configuration stays as it was: %s", error)
        return False


def _parse(content: bytes, path: Path, overrides: Mapping[str, Any]) -> tuple[dict[str, Any], Controls]:
    document = parse_descriptor(content, path)
    controls = document["controls"]
    return document, parse_controls({**controls, **overrides} if isinstance(controls, dict) else controls)


def _flat(controls: Controls) -> dict[str, Any]:
    """Dotted name -> value."""
    flat = {}
    for name, value in controls.model_dump(mode="json").items():
        if isinstance(value, dict):
            flat.update({f"{name}.{inner}": each for inner, each in value.items()})
        else:
            flat[name] = value
    return flat


def _differences(old: Controls, new: Controls) -> list[str]:
    before, after = _flat(old), _flat(new)
    return [name for name in before if before[name] != after[name]]


def _with_live_fields(old: Controls, new: Controls) -> Controls:
    """`old` with the LIVE fields of `new`."""
    wanted, merged = _flat(new), old.model_dump(mode="json")
    for name in LIVE:
        *section, field = name.split(".")
        target = merged[section[0]] if section else merged
        target[field] = wanted[name]
    return parse_controls(merged)
