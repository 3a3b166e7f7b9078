"""The networks that can lead, by name: what `--policy` and a bundle's `model` say."""

from __future__ import annotations

from dataclasses import replace

from policy.language_model import HEADS, ModelConfig, new_leader_model
from policy.prompt.compact import PromptLayout
from policy.speaking_model import SpeakingModule

KINDS = HEADS
"""pointer, vocabulary: policy.language_model."""


def new_model(kind: str, config: ModelConfig, seed: int, layout: PromptLayout | None = None) -> SpeakingModule:
    """A model of that kind with fresh weights that depend on `seed` alone. Raises ValueError for an unknown kind.

    The kind decides the head, whatever `config` says of it. layout: None = everything that is known today.
    """
    if kind not in KINDS:
        raise ValueError(f"policy is {kind!r}, expected one of {', '.join(KINDS)}")
    return new_leader_model(replace(config, head=kind), layout or PromptLayout(), seed)
