"""Leaders that hear UCMs: what is said, what of it is heard, how a leader learns to listen, and what it then gets.

A word comes with a UE's report and is as old as it is. What it means is `need` at first, the bits a slot that a UE must
be served to keep its deadlines, which is what followers are taught to say; followers that learn may say something else.
Leaders learn by imitation of the oracle, which sees queues and channels as they are: whatever of that a word gives away
is worth being heard. Suffixes: B cells, U seats.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from policy.bundle_files import BUNDLES
from policy.cell_state import CellState
from training.experiments.measurement import finite_means
from training.experiments.study import Notify, Results
from training.simulator.cell import CellBatch
from training.simulator.core import ANSWER_RULE
from training.simulator.scenario import Scenario
from training.simulator.slot_view import SlotView

if TYPE_CHECKING:
    from policy.follower import FollowerModel
    from policy.leader_models.leader_network import LeaderNetwork
    from training.imitation.collector import LeaderExample

Hearing = Literal["as said", "nothing", "shuffled"]
QUEUE_COLUMNS = ("buffer_bits_U", "buffer_bits_before_U", "head_delay_slots_U", "inflight_bits_U")
"""What a node without buffer status does not report."""
CELLS = 16
MAX_WARM_UP_SLOTS = 60
ROUND_STEPS = 40
PASSES = 2
"""Times that a state is learnt from."""
STUDENT_FROM, STUDENT_SHARE = 0.3, 0.4
"""After this share of a run the student leads some cells: this share of them."""


class UcmUes:
    """UEs that do as the best-response rule does, and say a word with each report."""

    speaks = True

    def __init__(self, model: FollowerModel | None) -> None:
        """model: whose words; None = `need`."""
        from training.simulator.learned_followers import as_followers

        self._followers = None if model is None else as_followers(model, greedy=True, speaks=True)

    def __call__(self, slot: SlotView) -> NDArray[np.bool_]:
        return (slot.answer_BUM & ANSWER_RULE) > 0

    def words(self, slot: SlotView) -> NDArray[np.int8]:
        return need_words(slot) if self._followers is None else self._followers.words(slot)


def need_words(slot: SlotView) -> NDArray[np.int8]:
    """What followers are taught to say, [B, U]; NO_WORD without data."""
    from policy.follower import NO_WORD
    from training.following.recording import NEED_EDGES
    from training.simulator.learned_followers import follower_view

    view = follower_view(slot)
    need_N = np.searchsorted(NEED_EDGES, view.buffer_bits_N / np.maximum(view.slack_slots_N, 1), side="right")
    words_N = np.where(view.buffer_bits_N > 0, need_N, NO_WORD)
    return words_N.astype(np.int8).reshape(slot.present_BU.shape)


def as_received(state: CellState, hearing: Hearing, words_alone: bool, rng: np.random.Generator) -> CellState:
    """A state as the leader gets it. words_alone: nothing of the queues but the words."""
    changes: dict[str, Any] = {name: np.full(state.num_ues, np.nan) for name in QUEUE_COLUMNS} if words_alone else {}
    if hearing == "nothing":
        changes["ucm_U"] = np.full(state.num_ues, np.nan)
    elif hearing == "shuffled":
        words_U = state.ucm_U.copy()
        known = np.flatnonzero(~np.isnan(words_U))
        words_U[known] = words_U[rng.permutation(known)]
        changes["ucm_U"] = words_U
    return replace(state, **changes) if changes else state


def listener_part(
    scenario: Scenario, ues: Sequence[int], listens: bool, words_alone: bool, steps: int, batch: int, seed: int,
    folder: Path, resume: bool, notify: Notify,
) -> Results:  # fmt: skip
    """A leader that imitates the oracle; the bundle lies in `folder`. listens: its prompt has words. Not resumed
    half-way."""
    import torch

    from policy.bundle import load_bundle, save_bundle
    from policy.grammar import PAPER
    from policy.leader_models.language_model import new_leader_model
    from policy.leader_models.leader_network import masked_log_softmax
    from policy.leader_models.transcript import teacher_forcing_batch
    from policy.model_config import ModelConfig
    from policy.prompt.compact import PromptLayout
    from training.imitation.collector import prompts_of
    from training.imitation.warm_start import WarmStartConfig
    from training.optimizer import AdamW

    torch.set_num_threads(1)
    layout = PromptLayout.with_ucm() if listens else PromptLayout()
    model = new_leader_model(ModelConfig(block_positions=1), layout, seed)
    config = WarmStartConfig(steps=steps)
    optimizer = AdamW(model.parameters(), lr=config.learning_rate, betas=(0.9, 0.98), weight_decay=0.01)
    rng = np.random.default_rng([seed, 11])
    examples: list[LeaderExample] = []
    late: list[float] = []
    for step in range(steps):
        if step % ROUND_STEPS == 0:
            model.eval()
            share = STUDENT_SHARE if step >= STUDENT_FROM * steps else 0.0
            examples = _collect(model, scenario, int(rng.choice(ues)), words_alone, share, batch, rng)
        model.train()
        chosen = [examples[k] for k in rng.integers(len(examples), size=batch)]
        teacher_batch = teacher_forcing_batch([e.steps for e in chosen])
        logits = model.teacher_forcing_logits(prompts_of(chosen), teacher_batch)
        log_probs = masked_log_softmax(logits, torch.from_numpy(teacher_batch.mask_BLA))
        taught_BL = log_probs.gather(-1, torch.from_numpy(teacher_batch.tokens_BL)[..., None])[..., 0]
        loss = -taught_BL.sum() / max(1, int((teacher_batch.mask_BLA.sum(-1) > 1).sum()))
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        late = [*late[-ROUND_STEPS:], loss.item()]
        notify(f"step {step + 1}/{steps}")
    like = load_bundle(BUNDLES / "paper")
    save_bundle(replace(like, leader=model.eval(), options=PAPER), folder / "bundle")
    return {"nats_a_choice": float(np.mean(late))}


def _collect(
    model: LeaderNetwork,
    scenario: Scenario,
    ues: int,
    words_alone: bool,
    share: float,
    batch: int,
    rng: np.random.Generator,
) -> list[LeaderExample]:
    """States met under the oracle, and with a `share` of the cells under the student, and the oracle's answers."""
    from policy.grammar import PAPER, compile_grammar
    from policy.intent import Intent
    from policy.leader_models.transcript import teacher_forcing_example
    from training.imitation.collector import LeaderExample
    from training.imitation.teachers import Oracle

    world, ucm_ues, oracle = CellBatch(scenario, CELLS, ues, int(rng.integers(2**31))), UcmUes(None), Oracle()
    world.play(None, scenario.slots_per_dcm * int(rng.integers(1, MAX_WARM_UP_SLOTS)), ucm_ues)
    rows = np.flatnonzero(rng.random(CELLS) < share).tolist()
    intents = [Intent()] * CELLS
    examples = []
    for _ in range(-(-ROUND_STEPS * batch // (PASSES * CELLS))):
        truth = world.observe()
        states = [as_received(state, "as said", words_alone, rng) for state in truth]
        grammars = [compile_grammar(s, i, PAPER) for s, i in zip(states, intents)]
        answers = oracle.answers(world, truth, intents)
        prompts = model.layout.encode(states, intents)
        for b, (state, grammar, answer) in enumerate(zip(states, grammars, answers)):
            tokens = grammar.tokens(answer)
            if tokens is not None:
                blocks_PT = prompts.tokens_NT[prompts.cell_N == b]
                examples.append(LeaderExample(blocks_PT, teacher_forcing_example(grammar, state, tokens)))
        if rows:
            own = model.decode([states[b] for b in rows], [intents[b] for b in rows], [grammars[b] for b in rows])
            for b, dcm in zip(rows, own):
                answers[b] = dcm.allocation
        world.play(answers, scenario.slots_per_dcm, ucm_ues)
    return examples


def speaker_part(
    bundle: Path, scenario: Scenario, ues: Sequence[int], updates: int, cells: int, seed: int,
    folder: Path, resume: bool, notify: Notify,
) -> Results:  # fmt: skip
    """Followers that learn what to say to the leader of `bundle`. Not resumed half-way."""
    import torch

    from policy.bundle import load_bundle, save_bundle
    from policy.follower import FOLLOWER_CONFIG, new_follower_model
    from policy.model_leader import leader_of
    from training.follower_run.run import train_followers
    from training.learning.follower_config import FollowTraining

    torch.set_num_threads(1)
    loaded = load_bundle(bundle)
    model = new_follower_model(FOLLOWER_CONFIG, seed)
    config = FollowTraining(updates=updates, imitation_updates=updates, cells=cells, seed=seed, speaks=True)
    train_followers(
        leader_of(loaded), model, [scenario], tuple(ues), config,
        progress=lambda report: notify(f"update {report.update + 1}/{updates}"),
    )  # fmt: skip
    save_bundle(replace(loaded, follower=model.eval()), folder / "bundle")
    return {"updates": updates}


def listen(
    leader: Path, speakers: Path | None, hearing: Hearing, words_alone: bool,
    scenario: Scenario, ues: int, cells: int, slots: int, seed: int,
) -> Results:  # fmt: skip
    """What cells get under a leader that hears so. speakers: a bundle whose followers have the words; None = need."""
    import torch

    from policy.bundle import load_bundle
    from policy.intent import Intent
    from policy.leader import never_expires
    from policy.model_leader import ModelLeader

    torch.set_num_threads(1)
    loaded = load_bundle(leader)
    led = ModelLeader(loaded.leader, loaded.options)
    ucm_ues = UcmUes(None if speakers is None else load_bundle(speakers).follower)
    world, rng = CellBatch(scenario, cells, ues, seed), np.random.default_rng([seed, 13])
    for _ in range(max(1, slots // scenario.slots_per_dcm)):
        states = [as_received(state, hearing, words_alone, rng) for state in world.observe()]
        decisions = led.decide(states, [Intent()] * cells, never_expires)
        world.play([decision.allocation for decision in decisions], scenario.slots_per_dcm, ucm_ues)
    return finite_means(world.metrics())
