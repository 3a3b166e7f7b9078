"""A trained leader and its followers on disk: a directory of two weight files and one description.

    leader.safetensors   follower.safetensors   bundle.json   (of a text model: policy.text.bundle)

bundle.json holds the format version, the prompt's layout, the models' sizes, what the leader may decide, for which K it
was trained, where it comes from, what it measured, and each file's size and sha256. Loading checks all of it: what is
not exactly as described is refused, and so is any pickle.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import nn

from policy.bundle_files import (
    DESCRIPTION,
    FOLLOWER_FILE,
    FORMAT_VERSION,
    LEADER_FILE,
    BundleError,
    bundle_folder,
    description_text,
    read_checked,
    read_description,
)
from policy.cell_state import CellState
from policy.errors import UserMistake
from policy.follower import FollowerLayout, FollowerModel, new_follower_model
from policy.grammar import GrammarOptions, compile_grammar
from policy.intent import Intent
from policy.leader_models.language_model import ModelConfig, state_of
from policy.leader_models.leader_network import LeaderNetwork
from policy.leader_models.recorded_answers import ANSWERS, Answer, record
from policy.leader_models.token_probabilities import StepProbabilities, compute_token_probabilities
from policy.model_kinds import TEXT, new_model, read_layout
from policy.text.bundle import BASE_FOLDER, base_document, base_files, open_text_model
from policy.text.model import TextModel
from policy.text.text_config import TextConfig

Model = TypeVar("Model", bound=nn.Module)
_BASE_FILE = re.compile(BASE_FOLDER + r"/[\w.-]+")


@dataclass(frozen=True, slots=True, eq=False)
class Bundle:
    """A pair of models and what they were made for."""

    leader: LeaderNetwork
    follower: FollowerModel
    options: GrammarOptions
    """What a DCM of the leader may hold."""
    min_slots_per_dcm: int
    max_slots_per_dcm: int
    """The K it was trained for."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """command, scenarios, teacher, seed, ...: enough to make it again."""
    metrics: Mapping[str, Any] = field(default_factory=dict)


def save_bundle(bundle: Bundle, path: str | Path) -> None:
    """Write a bundle's directory; what was there before is replaced only once all of it is on disk."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    files = {LEADER_FILE: save_tensors(state_of(bundle.leader)), FOLLOWER_FILE: save_tensors(state_of(bundle.follower))}
    base = {}
    if isinstance(bundle.leader, TextModel):
        files |= base_files(bundle.leader)
        base = {"base_model": base_document(bundle.leader)}
    description = {
        "format_version": FORMAT_VERSION,
        "slots_per_dcm": [bundle.min_slots_per_dcm, bundle.max_slots_per_dcm],
        "grammar": asdict(bundle.options),
        "model": bundle.leader.kind,
        "leader": asdict(bundle.leader.config),
        "follower": asdict(bundle.follower.config),
        "follower_layout": bundle.follower.layout.as_json(),
        "provenance": dict(bundle.provenance),
        "metrics": dict(bundle.metrics),
        "files": {n: {"bytes": len(b), "sha256": hashlib.sha256(b).hexdigest()} for n, b in files.items()},
        "prompt_layout": bundle.leader.layout.as_json(),
        ANSWERS: recorded_answers(bundle),
    } | base
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        staging.chmod(0o755)
        for name, content in files.items():
            (staging / name).parent.mkdir(exist_ok=True)
            _write(staging / name, content)
        _write(staging / DESCRIPTION, description_text(description).encode())
        if target.exists():
            old = staging.with_name(staging.name + "-old")
            target.rename(old)
            staging.rename(target)
            shutil.rmtree(old)
        else:
            staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def recorded_answers(bundle: Bundle) -> list[dict[str, Any]]:
    """What the leader answers now to some states (policy.leader_models.recorded_answers)."""
    model, options = bundle.leader, bundle.options
    if isinstance(model, TextModel) and model.config.bf16:
        return []  # so coarse that another processor may round to another token

    def answer(state: CellState) -> Answer:
        (decoded,) = model.decode([state], [Intent()], [compile_grammar(state, Intent(), options)])
        probabilities = compute_token_probabilities(model, options, state, Intent(), decoded.tokens)
        return Answer(decoded.tokens, decoded.log_probs, min(map(_margin, probabilities.steps), default=math.inf))

    was_training = model.training
    model.eval()
    try:
        return record(answer, (bundle.min_slots_per_dcm, bundle.max_slots_per_dcm))
    finally:
        model.train(was_training)


def record_answers(path: str | Path) -> int:
    """Write into a bundle's description what it answers now; returns how many answers. Raises BundleError."""
    folder = bundle_folder(Path(path))
    description = read_description(folder)
    description[ANSWERS] = recorded_answers(load_bundle(folder))
    new = folder / f".{DESCRIPTION}-new"
    _write(new, description_text(description).encode())
    new.replace(folder / DESCRIPTION)
    return len(description[ANSWERS])


def _margin(step: StepProbabilities) -> float:
    """Nats to the best alternative of a step's token; infinite without one."""
    others = np.delete(step.log_probs_A, step.token)
    margin = step.log_probs_A[step.token] - others.max(initial=-np.inf)
    return float(margin) if not np.isnan(margin) else 0.0


def load_bundle(path: str | Path) -> Bundle:
    """Read and check a bundle's directory, or that of a training run. Raises BundleError."""
    folder = bundle_folder(Path(path))
    description = read_description(folder)
    where = folder / DESCRIPTION
    try:
        low, high = (int(k) for k in description["slots_per_dcm"])
        options = GrammarOptions(**description["grammar"])
        kind = description.get("model", "pointer")
        follower_config = ModelConfig(**description["follower"])
        follower_layout = FollowerLayout.from_json(description.get("follower_layout"))
        files, provenance, metrics = description["files"], description["provenance"], description["metrics"]
        more = set(files) - {LEADER_FILE, FOLLOWER_FILE}
        if len(files) != len(more) + 2 or (more and kind != TEXT) or not all(_BASE_FILE.fullmatch(n) for n in more):
            raise ValueError(f"files are {sorted(files)}, expected {LEADER_FILE} and {FOLLOWER_FILE}")
        if not 1 <= low <= high:
            raise ValueError(f"slots_per_dcm is {[low, high]}, expected 1 <= low <= high")
        contents = {name: read_checked(folder / name, files[name]) for name in sorted(files)}
        leader = _leader(kind, description, more, folder)
        follower = _sized(lambda: new_follower_model(follower_config, 0, follower_layout))
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"{where}: {error.args[0]!r} is missing") from error
    except (UserMistake, TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{where}: {error}") from error
    _fill(leader, contents[LEADER_FILE], folder / LEADER_FILE)
    _fill(follower, contents[FOLLOWER_FILE], folder / FOLLOWER_FILE)
    return Bundle(leader.eval(), follower.eval(), options, low, high, provenance, metrics)


def _leader(kind: str, description: Mapping[str, Any], base_files: set[str], folder: Path) -> LeaderNetwork:
    """The leader, its weights yet to be filled in. Raises ValueError, TypeError or KeyError."""
    if kind == TEXT:
        config = TextConfig(**description["leader"])
        return open_text_model(config, description["prompt_layout"], description["base_model"], base_files, folder)
    layout = read_layout(kind, description["prompt_layout"])
    sizes = ModelConfig(**description["leader"])
    return _sized(lambda: new_model(kind, sizes, 0, layout))


def _sized(make: Callable[[], Model]) -> Model:
    """A model of sizes that a description says. Raises ValueError for what no library makes of them."""
    try:
        return make()
    except (UserMistake, ValueError, MemoryError):
        raise
    except Exception as error:  # torch and transformers have their own classes for sizes that cannot be
        raise ValueError(f"sizes that cannot be: {error}") from error


def _fill(model: nn.Module, content: bytes, file: Path) -> None:
    """Copy tensors into a model whose names, shapes and types they must match exactly."""
    try:
        tensors = load_tensors(content)
    except Exception as error:  # safetensors raises its own class, and ValueError and others for broken headers
        raise BundleError(f"{file}: not a safetensors file ({error})") from error
    wanted = state_of(model)
    if tensors.keys() != wanted.keys():
        name = min(tensors.keys() ^ wanted.keys())
        raise BundleError(f"{file}: tensor {name} is {'missing' if name in wanted else 'unknown'}")
    with torch.no_grad():
        for name, tensor in wanted.items():
            found = tensors[name]
            if found.shape != tensor.shape or found.dtype != tensor.dtype:
                raise BundleError(
                    f"{file}: tensor {name} is {found.dtype} {list(found.shape)}, "
                    f"expected {tensor.dtype} {list(tensor.shape)}"
                )
            if not bool(torch.isfinite(found).all()):
                raise BundleError(f"{file}: tensor {name} holds a value that is not finite")
            tensor.copy_(found)


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
