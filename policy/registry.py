"""From a name to a leader: a scheduler, the shipped bundles, a bundle on disk, or anyone's own class."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from policy.leader import Leader
from policy.schedulers.schedulers import SCHEDULERS

BUNDLED = "bundled"
"""The shipped bundles, chosen by K."""
MODEL_LEADERS = "policy.model_leader"
"""Imported only when a language model is asked for: it brings torch."""


class LeaderError(ValueError):
    """A leader that cannot be had: unknown name, damaged bundle, or a class that is not one."""


def make_leader(name: str, *, threads: int = 1) -> Leader:
    """The leader called `name`: a scheduler, `bundled`, a bundle's directory, or `module:Class` (no arguments).

    threads: CPU threads of a language model. Raises LeaderError.
    """
    if name in SCHEDULERS:
        return SCHEDULERS[name]
    if name == BUNDLED or (name and Path(name).is_dir()):  # Path("") is the working directory
        return _load_bundle(name, threads)
    if ":" in name:
        return _plug_in(name)
    known = ", ".join((*SCHEDULERS, BUNDLED))
    raise LeaderError(f"unknown leader {name!r}: expected {known}, a bundle's directory, or module:Class")


def _load_bundle(name: str, threads: int) -> Leader:
    models = import_module(MODEL_LEADERS)
    try:
        leader: Leader = (
            models.load_bundled_leader(threads=threads)
            if name == BUNDLED
            else models.load_leader(name, threads=threads)
        )
    except (ValueError, OSError) as error:
        raise LeaderError(f"leader {name!r}: {error}") from error
    return leader


def _plug_in(name: str) -> Leader:
    module_name, _, class_name = name.partition(":")
    try:
        leader = getattr(import_module(module_name), class_name)()
    except Exception as error:  # somebody else's code: importing and constructing it can fail in any way
        raise LeaderError(f"leader {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(leader, Leader):
        raise LeaderError(f"leader {name!r} is no policy.leader.Leader: expected a `name` and a method `decide`")
    return leader
