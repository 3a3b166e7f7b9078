"""From a name to a leader: a scheduler, the shipped bundles, a bundle on disk, or anyone's own class."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from policy.bundle_files import BUNDLES, BundleError, bundle_folder, read_description
from policy.errors import UserMistake, how_to_add, is_installed
from policy.leader import Leader
from policy.leader_models.recorded_answers import check
from policy.plug_ins.loading import PlugInError, load_plug_in
from policy.prompt.compact import GRANT_UE_FIELDS, UCM_UE_FIELD, UE_FIELDS
from policy.schedulers.schedulers import SCHEDULERS
from policy.shipped import BUNDLED

if TYPE_CHECKING:
    from policy.engine.leader import EngineLeader
    from policy.engine.loading import BundledEngine

log = logging.getLogger(__name__)

MODEL_LEADERS = "policy.model_leader"
"""Imported only when a language model is asked for that is not compiled: it brings torch."""
ENGINE_LEADERS = "policy.engine.loading"
"""Imported only when a language model is asked for: it brings numba."""


KNOWN_FIELDS = {field.name for field in (*UE_FIELDS, UCM_UE_FIELD, *GRANT_UE_FIELDS)}


class LeaderError(UserMistake):
    """A leader that cannot be had: unknown name, damaged bundle, or a class that is not one."""


class WrongAnswers(LeaderError):
    """A bundle that is whole, and does not answer as it did when it was written."""


class TorchMissing(LeaderError):
    """A bundle that the compiled engine does not run, where torch is not installed."""


def make_leader(name: str, *, threads: int = 1, beside: Sequence[str] = ()) -> Leader:
    """The leader called `name`: a scheduler, `bundled`, a bundle's directory, or `module:Class` (no arguments).

    threads: CPU threads of a language model. beside: what else the caller takes, for the error. Raises LeaderError.
    """
    if name in SCHEDULERS:
        return SCHEDULERS[name]
    if is_bundle(name):
        return _load_bundle(name, threads)
    if ":" in name:
        return _plug_in(name)
    known = ", ".join((*SCHEDULERS, BUNDLED, *beside))
    raise LeaderError(f"unknown leader {name!r}: expected {known}, a bundle's directory, or module:Class")


def is_bundle(name: str) -> bool:
    """Whether `name` asks for a trained model: `bundled`, or a directory."""
    return name not in SCHEDULERS and (name == BUNDLED or (bool(name) and Path(name).is_dir()))


def check_leader(name: str, *, beside: Sequence[str] = ()) -> None:
    """Refuse what cannot be had (LeaderError), without compiling anything. beside: as of `make_leader`."""
    if not is_bundle(name) or isinstance(engine_or_reason(name), str):
        make_leader(name, beside=beside)


def engine_or_reason(name: str) -> EngineLeader | BundledEngine | str:
    """A bundle's compiled leader, yet to be prepared, or why there is none. Raises LeaderError for a damaged bundle."""
    if reason := _reads_own_fields(name):
        return reason
    try:
        engines = import_module(ENGINE_LEADERS)
    except Exception as error:  # numba depends on versions of numpy, and on LLVM: it can fail in any way
        return f"the compiled engine cannot be imported ({type(error).__name__}: {error})"
    try:
        leader: EngineLeader | BundledEngine = engines.engine_leader(name)
    except engines.NoEngine as error:
        return str(error)
    except (ValueError, OSError) as error:
        raise LeaderError(f"leader {name!r}: {error}") from error
    return leader


def _reads_own_fields(name: str) -> str:
    """Why the engine does not run a bundle whose prompt has fields of somebody's own; "" = it has none."""
    if name == BUNDLED or not Path(name).is_dir():
        return ""
    try:
        fields = read_description(Path(name))["prompt_layout"]["ue_fields"]
        own = [field[0] for field in fields if field[0] not in KNOWN_FIELDS]
    except (BundleError, KeyError, TypeError, IndexError):
        return ""  # whoever loads it says what is wrong
    return f"{name}: the prompt has fields of one's own, {', '.join(map(str, own))}" if own else ""


def check_answers(name: str, leader: Leader) -> None:
    """Ask the leader of a bundle what it was asked when it was written. Raises WrongAnswers, LeaderError."""
    folders = [BUNDLES / "paper", BUNDLES / "lab"] if name == BUNDLED else [bundle_folder(Path(name))]
    for folder in folders:
        try:
            check(leader, read_description(folder), folder)
        except BundleError as error:
            raise WrongAnswers(f"leader {name!r}: {error}") from error


def load_by_torch(
    name: str, reason: str, *, threads: int = 1, check: Callable[[str, Leader], None] = check_answers
) -> Leader:
    """A bundle's leader without the engine. reason: why. Raises LeaderError."""
    if not is_installed("torch"):
        raise TorchMissing(f"leader {name!r}: {reason}, and {how_to_add('torch')}")
    models = import_module(MODEL_LEADERS)
    try:
        leader: Leader = (
            models.load_bundled_leader(threads=threads)
            if name == BUNDLED
            else models.load_leader(name, threads=threads)
        )
    except (UserMistake, ValueError, OSError) as error:
        raise LeaderError(f"leader {name!r}: {error}") from error
    check(name, leader)
    return leader


def _load_bundle(name: str, threads: int) -> Leader:
    found = engine_or_reason(name)
    if isinstance(found, str):
        return load_by_torch(name, found, threads=threads)
    try:
        found.prepare()
    except Exception as error:  # numba and LLVM have many ways to fail
        reason = f"the engine cannot be compiled ({type(error).__name__}: {error})"
        log.warning("leader %r: %s", name, reason)
        return load_by_torch(name, reason, threads=threads)
    check_answers(name, found)
    return found


def _plug_in(name: str) -> Leader:
    try:
        leader = load_plug_in(name, "leader")()
    except PlugInError as error:
        raise LeaderError(str(error)) from error
    except Exception as error:  # somebody else's code: constructing it can fail in any way
        raise LeaderError(f"leader {name!r}: {type(error).__name__}: {error}") from error
    if not isinstance(leader, Leader):
        raise LeaderError(f"leader {name!r} is no policy.leader.Leader: expected a `name` and a method `decide`")
    return leader
