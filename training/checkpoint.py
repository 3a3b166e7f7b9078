"""Weights and optimizer states of a run in one safetensors file: what an exact resume needs, and no pickle."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from policy.leader_models.language_model import state_of
from training.errors import NotWritten, TrainingError

VERSION_AT_ROUND, VERSION_IN_ROUND = "1", "2"
"""Of a checkpoint where a round begins, and of one that holds an unfinished round: what cannot read that refuses it."""
ADAM_SLOTS = ("step", "exp_avg", "exp_avg_sq")


ROUND = "round/"
"""What a tensor's name begins with that holds bytes of an unfinished round, a number for each rank."""

Models = Mapping[str, nn.Module]
Optimizers = Mapping[str, torch.optim.AdamW]


def save_checkpoint(
    path: Path, models: Models, optimizers: Optimizers, metadata: Mapping[str, str], rounds: Sequence[bytes] = ()
) -> None:
    """Write a checkpoint; the old one stays until the new one is complete.

    rounds: what each rank holds of an unfinished round. Raises NotWritten, for a full disk above all.
    """
    tensors: dict[str, Tensor] = {
        f"{ROUND}{rank}": torch.frombuffer(bytearray(content), dtype=torch.uint8) for rank, content in enumerate(rounds)
    }
    for name, model in models.items():
        tensors |= {f"{name}/weight/{key}": tensor for key, tensor in state_of(model).items()}
        state = optimizers[name].state if name in optimizers else {}
        for key, parameter in model.named_parameters():
            for slot, tensor in state.get(parameter, {}).items():
                tensors[f"{name}/{slot}/{key}"] = tensor
    staging = path.with_suffix(".tmp")
    content = save(tensors, {**metadata, "version": VERSION_IN_ROUND if rounds else VERSION_AT_ROUND})
    try:
        staging.write_bytes(content)
        os.replace(staging, path)
    except BaseException as error:  # a second Ctrl-C, too
        staging.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise NotWritten(f"{path}: {error.strerror}; what was there before is whole") from error


def read_checkpoint(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors. Raises TrainingError."""
    try:
        with safe_open(path, "pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{path}: {error}") from error
    if (version := metadata.get("version")) not in (VERSION_AT_ROUND, VERSION_IN_ROUND):
        raise TrainingError(f"{path}: version is {version}, expected {VERSION_AT_ROUND} or {VERSION_IN_ROUND}")
    return metadata, tensors


def round_in(tensors: Mapping[str, Tensor], rank: int) -> bytes | None:
    """What a rank held of an unfinished round; None = the checkpoint is of where one began."""
    held = tensors.get(f"{ROUND}{rank}")
    return None if held is None else bytes(held.numpy())


def fill_from(tensors: Mapping[str, Tensor], models: Models, optimizers: Optimizers) -> None:
    """Put models and optimizers back to what `save_checkpoint` saw."""
    with torch.no_grad():
        for name, model in models.items():
            for key, weight in state_of(model).items():
                weight.copy_(tensors[f"{name}/weight/{key}"])
            for key, parameter in model.named_parameters():
                if f"{name}/step/{key}" in tensors:
                    optimizers[name].state[parameter] = {s: tensors[f"{name}/{s}/{key}"] for s in ADAM_SLOTS}
