"""A bundle's leader, packed for the engine: read from its files with numpy, shared by all of a process's leaders."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors

from policy.bundle_files import (
    DESCRIPTION,
    FOLLOWER_FILE,
    LEADER_FILE,
    BundleError,
    bundle_folder,
    read_checked,
    read_description,
)
from policy.engine.dcm import Options
from policy.engine.memory import Workspace
from policy.engine.simd import LANES
from policy.engine.sizes import Sizes
from policy.engine.tables import Tables, tables_of
from policy.engine.weights import Tensors, Weights, pack, sizes_of
from policy.grammar import MAX_RBGS, GrammarOptions
from policy.model_config import ModelConfig
from policy.prompt.compact import PromptLayout

MODEL_KIND = "pointer"
KEPT_MODELS = 8
"""Packed models that a process keeps, the newest ones."""


class PackedModel(NamedTuple):
    """Never changed: leaders and threads share it."""

    sizes: Sizes
    weights: Weights
    tables: Tables
    layout: PromptLayout
    grammar: GrammarOptions
    min_slots_per_dcm: int

    @property
    def options(self) -> Options:
        g = self.grammar
        return Options(
            int(g.allow_ue_grants),
            int(g.allow_open),
            int(g.allow_dynamic),
            int(g.allow_idle),
            int(g.allow_contention),
            g.max_periodic_grants,
        )

    @property
    def max_steps(self) -> int:
        """Of the longest DCM."""
        return 2 + 2 * self.grammar.max_periodic_grants + 1 + MAX_RBGS

    def workspace(self) -> Workspace:
        fields = len(self.tables.number) // 2
        return Workspace(self.sizes, fields, self.weights.positions, self.max_steps)


def why_not(kind: str, config: ModelConfig) -> str:
    """What of a model the engine does not do; empty = it does."""
    if kind != MODEL_KIND:
        return f"its model is {kind}"
    if config.attention != "block" or config.decoding != "autoregressive":
        return f"its model is {config.attention} and {config.decoding}"
    if config.hidden_size % LANES or config.hidden_size // config.num_heads % 4:
        return f"its hidden_size is {config.hidden_size} with {config.num_heads} heads"
    return ""


def pack_model(
    tensors: Tensors, config: ModelConfig, layout: PromptLayout, grammar: GrammarOptions, min_slots_per_dcm: int = 1
) -> PackedModel:
    """Raises ValueError for tensors that are not those of such a model."""
    positions = config.block_positions or layout.block_tokens
    if positions > layout.block_tokens:
        raise ValueError(f"block_positions is {positions}, expected 0 to {layout.block_tokens}")
    tables = tables_of(layout, positions)
    with np.errstate(over="ignore", invalid="ignore"):  # absurd weights: what they answer is tried later
        weights = pack(tensors, config, layout, tables)
    return PackedModel(sizes_of(config), weights, tables, layout, grammar, min_slots_per_dcm)


def read_model(folder: Path) -> PackedModel | str:
    """The packed leader of a bundle, or why the engine cannot have it. Raises BundleError for a damaged one."""
    folder = bundle_folder(folder)
    where = folder / DESCRIPTION
    description = read_description(folder)
    try:
        kind = str(description.get("model", MODEL_KIND))
        if kind != MODEL_KIND:
            return why_not(kind, ModelConfig())
        config = ModelConfig(**description["leader"])
        if reason := why_not(kind, config):
            return reason
        files = description["files"]
        if set(files) != {LEADER_FILE, FOLLOWER_FILE}:
            raise ValueError(f"files are {sorted(files)}, expected {LEADER_FILE} and {FOLLOWER_FILE}")
        contents = {name: read_checked(folder / name, files[name]) for name in sorted(files)}
        return _packed(_Source(description, contents[LEADER_FILE], folder / LEADER_FILE))
    except BundleError:
        raise
    except KeyError as error:
        raise BundleError(f"{where}: {error.args[0]!r} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BundleError(f"{where}: {error}") from error


class _Source:
    """What a packed model is made of; equal where all of it is."""

    def __init__(self, description: dict[str, Any], content: bytes, file: Path) -> None:
        self.description, self.content, self.file = description, content, file
        self._key = repr([description.get(n) for n in ("leader", "prompt_layout", "grammar", "slots_per_dcm", "files")])

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Source) and other._key == self._key


@lru_cache(maxsize=KEPT_MODELS)
def _packed(source: _Source) -> PackedModel:
    description = source.description
    try:
        tensors = load_tensors(source.content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{source.file}: not a safetensors file ({error})") from error
    config = ModelConfig(**description["leader"])
    layout = PromptLayout.from_json(description["prompt_layout"])
    low, high = (int(k) for k in description["slots_per_dcm"])
    if not 1 <= low <= high:
        raise ValueError(f"slots_per_dcm is {[low, high]}, expected 1 <= low <= high")
    grammar = GrammarOptions(**description["grammar"])
    try:
        return pack_model(tensors, config, layout, grammar, low)
    except ValueError as error:
        raise BundleError(f"{source.file}: {error}") from error
