"""The compiled decision beside its alternatives, all of them in turn in one run, by processor time of one thread.

Alternatives: the torch reference with its drafts; `generate` of transformers on a LlamaForCausalLM of the same size
under the same grammar; and the floor, what the arithmetic alone takes at the speed of this machine's matrix products.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from policy.cell_state import CellState
from policy.engine.leader import EngineLeader
from policy.engine.loading import engine_leader
from policy.engine.model import pack_model
from policy.grammar import FIRST_UE, compile_grammar
from policy.intent import Intent
from policy.leader import Leader, never_expires
from policy.shipped import shipped_bundle
from xapp.bench.decision_path import DecisionPath
from xapp.bench.in_turn import Case, in_turn

if TYPE_CHECKING:
    from policy.bundle import Bundle

UES = (8, 20, 100, 200)
SLOTS_PER_DCM = ((1, 6), (100, 17))
"""(K, RBGs): the paper's game and a RIC's pace."""
STATES = 12
"""States that are decided in turn."""
OTHER_POSITIONS = (2, 0)
"""Positions a UE, beside the shipped bundles' one; 0 = one a field."""
PEAK_SIZE = 256
"""Rows of the matrix product by which the machine's speed is told."""
INTENT = Intent()


def engine_cases(rng: np.random.Generator, seconds: float, at_least: int, at_most: int) -> Iterator[Case]:
    """The shipped bundles at every size, and the same with the fields of a UE in more positions."""
    import torch

    from policy.bundle import load_bundle
    from policy.model_leader import leader_of

    torch.set_num_threads(1)
    macs_per_us = peak_macs_per_us()
    for k, num_rbgs in SLOTS_PER_DCM:
        folder = shipped_bundle(k)
        bundle = load_bundle(folder)
        engine = engine_leader(str(folder))
        assert isinstance(engine, EngineLeader)
        engine.prepare()
        reference = leader_of(bundle, folder.name)
        others = {n: with_positions(bundle, n) for n in OTHER_POSITIONS}
        for ues in UES:
            with closing(DecisionPath(engine, k, num_rbgs)) as path:
                states = [path.state(rng, ues) for _ in range(STATES)]
            plain = PlainGeneration(bundle, ues)
            runs: dict[str, Callable[[], object]] = {
                "engine": _decider(engine, states),
                "torch": _decider(reference, states),
                "generate": _each(plain.decide, states),
                **{str(n): _decider(leader, states) for n, leader in others.items()},
            }
            found = in_turn(runs, seconds, at_least, at_most)
            alone = in_turn({"engine": _decider(engine, states[:1])}, seconds, at_least, at_most)["engine"]
            params = {"bundle": folder.name, "k": k, "ues": ues, "rbgs": num_rbgs}
            what = f"{folder.name}, K={k}, {ues} UEs x {num_rbgs} RBGs"
            ours = found["engine"]
            yield Case(what, params, ours, "torch, drafted", found["torch"].median_us)
            yield Case(what, params, ours, "transformers", found["generate"].median_us)
            steps = float(np.median([len(engine.decide([s], [INTENT], never_expires)[0].tokens) for s in states]))
            floor_us = decision_macs(bundle, ues, steps) / macs_per_us
            yield Case(what, params, ours, "arithmetic alone", floor_us)
            yield Case(f"{what}, warm", params, alone, "in turn", ours.median_us)
            for n in OTHER_POSITIONS:
                positions = n or bundle.leader.layout.block_tokens
                place = params | {"positions": positions}
                yield Case(f"{what}, {positions} positions a UE", place, found[str(n)], "as shipped", ours.median_us)


def with_positions(bundle: Bundle, positions: int) -> EngineLeader:
    """The bundle's weights, read with so many positions a block: not trained so, it says something of speed alone."""
    from policy.leader_models.language_model import state_of

    tensors = {name: tensor.numpy() for name, tensor in state_of(bundle.leader).items()}
    config = replace(bundle.leader.config, block_positions=positions)
    leader = EngineLeader(pack_model(tensors, config, bundle.leader.layout, bundle.options))
    leader.prepare()
    return leader


def _decider(leader: Leader, states: list[CellState]) -> Callable[[], object]:
    return _each(lambda state: leader.decide([state], [INTENT], never_expires), states)


def _each(run: Callable[[CellState], object], states: list[CellState]) -> Callable[[], object]:
    """Run it with the next state each time."""
    turn = 0

    def next_one() -> object:
        nonlocal turn
        turn += 1
        return run(states[turn % len(states)])

    return next_one


class PlainGeneration:
    """What one would write first: the prompt as one sequence, the actions as vocabulary, `generate` under the grammar.

    The weights are random: they say nothing of how long it takes.
    """

    def __init__(self, bundle: Bundle, ues: int) -> None:
        import torch
        from transformers import LlamaConfig, LlamaForCausalLM

        config = bundle.leader.config
        self._layout, self._options = bundle.leader.layout, bundle.options
        self._first = self._layout.vocabulary_size
        self._end = self._first + FIRST_UE + ues
        torch.manual_seed(0)
        self._model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=self._end + 1,
                hidden_size=config.hidden_size,
                intermediate_size=config.intermediate_size,
                num_hidden_layers=config.num_layers,
                num_attention_heads=config.num_heads,
                num_key_value_heads=config.num_heads,
                max_position_embeddings=8192,
                tie_word_embeddings=True,
                bos_token_id=0,
                eos_token_id=self._end,
                pad_token_id=self._end,
            )
        ).eval()

    def decide(self, state: CellState) -> object:
        import torch

        grammar = compile_grammar(state, INTENT, self._options)
        cursor = grammar.start()
        prompt = torch.from_numpy(self._layout.encode([state], [INTENT]).tokens_NT.reshape(1, -1))
        length = prompt.shape[1]

        def allowed(batch: int, tokens: torch.Tensor) -> list[int]:
            if len(tokens) > length + len(cursor.tokens):
                cursor.advance(int(tokens[-1]) - self._first)
            if cursor.done:
                return [self._end]
            return (np.flatnonzero(cursor.mask()) + self._first).tolist()

        with torch.inference_mode():
            self._model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=grammar.max_tokens + 1,
                do_sample=False,
                use_cache=True,
                prefix_allowed_tokens_fn=allowed,
            )
        return cursor.allocation()


def peak_macs_per_us() -> float:
    """Multiplications and additions of single floats that one thread does in a matrix product."""
    import torch

    a, b = (torch.rand(PEAK_SIZE, PEAK_SIZE) for _ in range(2))
    found = in_turn({"product": lambda: torch.mm(a, b)}, 0.05, 20, 200)["product"]
    return PEAK_SIZE**3 / found.median_us


def decision_macs(bundle: Bundle, ues: int, steps: float) -> float:
    """The fewest multiplications and additions that a decision takes.

    Layer 0 begins from a table; the last layer has only keys and values, but for the blocks' ends; a step sees all.
    """
    config = bundle.leader.config
    positions = config.block_positions or bundle.leader.layout.block_tokens
    d, f, layers, blocks = config.hidden_size, config.intermediate_size, config.num_layers, ues + 1
    whole, rest = 4 * d * d + 3 * d * f, d * d + 3 * d * f
    attention = positions * (positions + 1) // 2 * 2 * d
    reading = positions * rest + attention if layers > 1 else 0.0
    reading += max(0, layers - 2) * (positions * whole + attention)
    reading += (positions * 2 * d * d if layers > 1 else 0) + (2 * d * d + 3 * d * f) + positions * 2 * d + 2 * d * d
    saying = layers * (whole + 2 * d * (blocks * positions + steps / 2)) + d * d
    return float(blocks * reading + steps * saying)
