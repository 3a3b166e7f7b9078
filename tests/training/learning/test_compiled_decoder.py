"""DCMs that the compiled decision draws for a training are those of torch, and weights that are none end the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from policy.grammar import compile_grammar
from policy.intent import Intent
from policy.leader_models.language_model import state_of
from policy.shipped import shipped_bundle
from training.errors import Diverged
from training.learning.compiled_decoder import compiled_decoder
from training.simulator.cell import CellBatch
from training.simulator.scenario import MIX


def test_they_are_drawn_as_by_torch_until_a_weight_is_not_finite() -> None:
    """Of a shipped bundle, which is compiled already."""
    from policy.bundle import load_bundle

    torch.set_num_threads(1)
    bundle = load_bundle(shipped_bundle(1))
    decoder = compiled_decoder(bundle.leader, bundle.options)
    assert decoder is not None
    world = CellBatch(MIX, 8, 4, seed=3)
    world.play(None, 20)
    states = world.observe()
    grammars = [compile_grammar(state, Intent(), bundle.options) for state in states]
    uniforms_BL = np.random.default_rng(0).random((len(states), 64))
    with torch.no_grad():
        head = next(iter(bundle.leader.head.parameters()))
        head.mul_(1.1)
        decoder.repack()
        ours = decoder.decode(states, [Intent()] * 8, grammars, uniforms_BL=uniforms_BL)
        theirs = bundle.leader.decode(states, [Intent()] * 8, grammars, uniforms_BL=uniforms_BL)
        assert [dcm.tokens for dcm in ours] == [dcm.tokens for dcm in theirs]
        for mine, other in zip(ours, theirs):
            np.testing.assert_allclose(mine.log_probs, other.log_probs, rtol=0, atol=1e-4)
        head[...] = torch.nan
        assert not all(tensor.isfinite().all() for tensor in state_of(bundle.leader).values())
        with pytest.raises(Diverged, match="not finite"):
            decoder.repack()
