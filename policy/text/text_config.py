"""Which pretrained language model leads, and what of it is trained; known where torch is not."""

from __future__ import annotations

from dataclasses import dataclass

from policy.errors import UserMistake


@dataclass(frozen=True, slots=True)
class TextConfig:
    """Which base model, and what of it is trained. All fields are plain values: a bundle stores them as JSON."""

    base_model: str
    """A directory or a hub id."""
    lora_rank: int = 8
    """Rank of the adapters on every linear layer; 0 = all weights are trained."""
    bf16: bool = False
    """Compute in bfloat16; whatever is trained is kept in float32."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, a third more time."""

    def __post_init__(self) -> None:
        if not 0 <= self.lora_rank <= 1024:
            raise UserMistake(f"lora_rank is {self.lora_rank}, expected 0 (no LoRA) to 1024")
