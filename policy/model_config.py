"""Size and shape of a leader that is a language model, as a bundle describes it. Free of torch."""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_POSITIONS = 256
"""Longest block plus longest DCM; the rotary table's length."""
DENSE_POSITIONS = 8192
"""The same where the whole prompt is one sequence: more than 500 UEs."""
HEADS = ("pointer", "vocabulary")
ATTENTIONS = ("block", "dense")
DECODINGS = ("autoregressive", "one_pass")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Size and shape of a Llama built from scratch."""

    hidden_size: int = 64
    num_layers: int = 2
    num_heads: int = 4
    intermediate_size: int = 176
    head: str = "pointer"
    """One of HEADS."""
    attention: str = "block"
    """One of ATTENTIONS: what a prompt's token sees."""
    decoding: str = "autoregressive"
    """One of DECODINGS: whether a step knows what was chosen before it."""
    block_positions: int = 0
    """Positions that a block of the prompt takes: its fields, in order, are summed into so many. 0 = one per field."""

    def __post_init__(self) -> None:
        if min(self.hidden_size, self.num_layers, self.num_heads, self.intermediate_size) < 1:
            raise ValueError(f"sizes must be positive, got {self}")
        if self.block_positions < 0:
            raise ValueError(f"block_positions is {self.block_positions}, expected 0 or more")
        if self.hidden_size % (2 * self.num_heads):
            raise ValueError(f"hidden_size is {self.hidden_size}, expected a multiple of 2 x {self.num_heads} heads")
        for name, value, known in (
            ("head", self.head, HEADS),
            ("attention", self.attention, ATTENTIONS),
            ("decoding", self.decoding, DECODINGS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}, expected {' or '.join(known)}")

    @property
    def max_positions(self) -> int:
        return DENSE_POSITIONS if self.attention == "dense" else BLOCK_POSITIONS
