"""The networks that can lead, by name: what `--policy` and a bundle's `model` say."""

from __future__ import annotations

from policy.language_model import ModelConfig, new_leader_model
from policy.prompt.compact import PromptLayout
from policy.speaking_model import SpeakingModule

KINDS = ("pointer",)


def new_model(kind: str, config: ModelConfig, seed: int) -> SpeakingModule:
    """A model of that kind with fresh weights that depend on `seed` alone. Raises ValueError for an unknown kind."""
    if kind not in KINDS:
        raise ValueError(f"policy is {kind!r}, expected one of {', '.join(KINDS)}")
    return new_leader_model(config, PromptLayout(), seed)
