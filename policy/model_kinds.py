"""The networks that can lead, by name: the values of `--model-kind` and of a bundle's `model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from policy.grammar import GrammarOptions
from policy.model_config import HEADS, ModelConfig
from policy.prompt.compact import PromptLayout
from policy.prompt.numeric import NumericLayout
from policy.text.text_config import TextConfig

if TYPE_CHECKING:
    from policy.leader_models.leader_network import LeaderNetwork

WITHOUT_LANGUAGE = ("mappo", "mappo_g")
TEXT = "text"
KINDS = (*HEADS, *WITHOUT_LANGUAGE, TEXT)
"""text: policy.text.model. pointer, vocabulary: policy.leader_models.language_model. mappo, mappo_g:
policy.leader_models.encoder_model."""


def new_model(
    kind: str, config: ModelConfig | TextConfig, seed: int, layout: PromptLayout | None = None
) -> LeaderNetwork:
    """A model of that kind with fresh weights that depend on `seed` alone. Raises ValueError for an unknown kind.

    The kind decides the head, whatever `config` says of it; of mappo and mappo_g `config` is the size alone. layout:
    one of the kind's; None = with everything that is known today. Of `text` the weights are its base
    model's, which may not be there: BaseModelError.
    """
    if (kind == TEXT) != isinstance(config, TextConfig):
        raise ValueError(f"model kind {kind} does not go with {type(config).__name__}")
    # Kinds are known where torch is not installed, which networks need.
    from policy.leader_models.encoder_model import SeatModel, SetModel
    from policy.leader_models.language_model import new_leader_model
    from policy.leader_models.leader_network import seeded
    from policy.text.model import new_text_model

    if isinstance(config, TextConfig):
        return new_text_model(config, seed=seed)
    layout_class = _layout_class(kind)
    layout = layout or layout_class()
    if not isinstance(layout, NumericLayout):
        return new_leader_model(replace(config, head=kind), layout, seed)
    with seeded(seed):
        return SeatModel(config, layout) if kind == SeatModel.kind else SetModel(config, layout)


def layout_for(kind: str, options: GrammarOptions) -> PromptLayout | None:
    """What a new model of that kind should read to decide what `options` allow; None for one that reads text."""
    if kind == TEXT:
        return None
    layout_class = _layout_class(kind)
    return (layout_class.with_grants() if options.max_periodic_grants else layout_class()).with_own()


def read_layout(kind: str, document: Mapping[str, Any]) -> PromptLayout:
    """A layout that a bundle of that kind keeps. Raises ValueError, TypeError or KeyError."""
    return _layout_class(kind).from_json(document)


def _layout_class(kind: str) -> type[PromptLayout]:
    if kind not in KINDS:
        raise ValueError(f"model kind is {kind!r}, expected one of {', '.join(KINDS)}")
    return NumericLayout if kind in WITHOUT_LANGUAGE else PromptLayout
