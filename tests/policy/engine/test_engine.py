"""The compiled decision is the torch reference's, for any weights, cell, grammar and limits; and it needs no torch."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_checker import Twins, check_decisions, random_limits, twins_of
from other_sizes import OTHER

from policy.bundle import Bundle, save_bundle
from policy.bundle_files import BUNDLES, BundleError
from policy.engine.jit import SOURCES
from policy.engine.leader import EngineLeader
from policy.engine.loading import NoEngine, engine_leader
from policy.engine.model import pack_model
from policy.follower import new_follower_model
from policy.grammar import LAB, PAPER, GrammarError, GrammarOptions
from policy.intent import Intent
from policy.leader import never_expires
from policy.leader_models.language_model import ModelConfig, new_leader_model, state_of
from policy.model_kinds import new_model
from policy.model_leader import ModelLeader
from policy.prompt.compact import PromptLayout
from policy.registry import make_leader
from policy.shipped import EXPIRED

PADDED = ModelConfig(intermediate_size=170)
"""170 is no multiple of 16: the engine pads it, to the size of shipped networks, whose code is compiled already."""
OPTIONS = (
    PAPER,
    LAB,
    GrammarOptions(),
    GrammarOptions(allow_open=False, allow_contention=False, max_periodic_grants=3),
    GrammarOptions(allow_ue_grants=False, max_periodic_grants=18),
    GrammarOptions(allow_open=False, allow_dynamic=False, allow_idle=False),
)


def twins(
    options: GrammarOptions, layout: PromptLayout | None = None, positions: int = 0, sizes: ModelConfig = PADDED
) -> Twins:
    """Random weights, loud enough that decisions differ."""
    torch.set_num_threads(1)
    config = dataclasses.replace(sizes, block_positions=positions)
    model = new_leader_model(config, layout or PromptLayout.with_grants(), seed=1).eval()
    with torch.no_grad():
        for parameter in model.head.parameters():
            parameter.mul_(2.0)
    return twins_of(model, options)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("sampled", [False, True])
def test_it_decides_as_the_reference(make_random_state, options: GrammarOptions, sampled: bool) -> None:
    rng = np.random.default_rng(3)
    asked = twins(options).sampled(7) if sampled else twins(options)
    states = [make_random_state(rng, num_rbgs=int(rng.integers(1, 19)), missing=float(rng.choice([0.0, 0.3])))
              for _ in range(30)]  # fmt: skip
    intents = [random_limits(rng, state) for state in states]
    assert check_decisions(asked, states, intents) > 60


@pytest.mark.timeout(900)  # it compiles, where `./dev` has not: most of a minute
def test_so_does_a_network_of_other_sizes(make_random_state) -> None:
    rng = np.random.default_rng(13)
    states = [make_random_state(rng, num_rbgs=int(rng.integers(1, 19))) for _ in range(12)]
    intents = [random_limits(rng, state) for state in states]
    for positions in (0, 2):
        asked = twins(LAB, positions=positions, sizes=OTHER)
        for each in (asked, asked.sampled(7)):
            assert check_decisions(each, states, intents) > 24


@pytest.mark.parametrize(
    "layout",
    [PromptLayout(), PromptLayout.with_ucm(), PromptLayout(rbg_features=()), PromptLayout(rbg_features=("heard",))],
)
def test_it_reads_every_layout(make_random_state, layout: PromptLayout) -> None:
    rng = np.random.default_rng(4)
    states = [make_random_state(rng, ues=int(rng.choice([0, 1, 5, 15, 16, 40])), num_rbgs=6) for _ in range(12)]
    assert check_decisions(twins(PAPER, layout), states, [Intent()] * 12) > 60


@pytest.mark.parametrize("positions", [1, 2, 5, 14])
def test_it_sums_the_fields_that_share_a_position(make_random_state, positions: int) -> None:
    rng = np.random.default_rng(9)
    states = [make_random_state(rng, ues=int(rng.choice([0, 1, 15, 40])), num_rbgs=6) for _ in range(8)]
    assert check_decisions(twins(PAPER, PromptLayout(), positions), states, [Intent()] * 8) > 40


def test_what_is_not_finite_is_read_alike(make_random_state) -> None:
    """Infinities, negative numbers, and outcomes out of range: wrong reports must not part the two."""
    rng = np.random.default_rng(5)
    states = []
    for _ in range(20):
        state, changed = make_random_state(rng, ues=6, num_rbgs=5, missing=0.0), {}
        for name in ("buffer_bits_U", "inflight_bits_U", "deadline_slots_U", "age_slots_U", "cqi_U", "last_outcome_M"):
            column = getattr(state, name).copy()
            column[rng.random(len(column)) < 0.4] = rng.choice([np.inf, -np.inf, -1.0, 9.0, np.nan])
            changed[name] = column
        states.append(dataclasses.replace(state, **changed))
    assert check_decisions(twins(LAB), states, [Intent()] * 20) > 20


def test_columns_of_any_memory_layout(make_random_state) -> None:
    """Read-only, and not one after the other."""
    state = make_random_state(np.random.default_rng(6), ues=5, missing=0.0)
    spread = {}
    for name in ("buffer_bits_U", "cqi_U", "last_cqi_UM"):
        column = np.repeat(getattr(state, name), 2, axis=0)[::2]
        column.flags.writeable = False
        spread[name] = column
    assert check_decisions(twins(PAPER), [state, dataclasses.replace(state, **spread)], [Intent()] * 2) > 4


def test_time_that_ran_out_is_noticed_between_calls(make_random_state) -> None:
    engine = twins(PAPER).engine
    states = [make_random_state(np.random.default_rng(7), ues=400, num_rbgs=17) for _ in range(4)]
    asked = iter([False, True, True])
    decisions = engine.decide(states, [Intent()] * 4, lambda: next(asked))
    assert [decision.reason for decision in decisions] == ["", "", EXPIRED, EXPIRED]
    assert decisions[3].log_probs is not None and np.isnan(decisions[3].log_probs).all()


def test_a_cell_of_too_many_rbgs_is_refused(make_random_state) -> None:
    engine = twins(PAPER).engine
    with pytest.raises(GrammarError, match="num_rbgs is 19, expected 1 to 18"):
        engine.decide([make_random_state(np.random.default_rng(8), ues=2, num_rbgs=19)], [Intent()], never_expires)
    (decision,) = engine.decide([make_random_state(np.random.default_rng(8), ues=2)], [Intent()], never_expires)
    assert decision.tokens


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda tensors: tensors.pop("head.query.weight"), "tensor head.query.weight is missing"),
        (lambda tensors: tensors.update(other=np.zeros(1, np.float32)), "tensor other is unknown"),
        (
            lambda tensors: tensors.update({"head.query.weight": np.zeros((2, 2), np.float32)}),
            r"tensor head.query.weight is float32 \[2, 2\], expected float32 \[64, 64\]",
        ),
        (lambda tensors: tensors["outcome.weight"].__setitem__(0, np.nan), "outcome.weight holds a value that is not"),
    ],
)
def test_other_tensors_are_refused(spoil, message: str) -> None:
    model = new_leader_model(PADDED, PromptLayout(), 0)
    tensors = {name: tensor.numpy().copy() for name, tensor in state_of(model).items()}
    spoil(tensors)
    with pytest.raises(ValueError, match=message):
        pack_model(tensors, PADDED, PromptLayout(), PAPER)


def test_a_damaged_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle directory"):
        engine_leader(str(tmp_path / "none"))
    for name in ("leader.safetensors", "follower.safetensors", "bundle.json"):
        (tmp_path / name).write_bytes((BUNDLES / "paper" / name).read_bytes())
    assert isinstance(engine_leader(str(tmp_path)), EngineLeader)
    with (tmp_path / "leader.safetensors").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\1\2\3")
    with pytest.raises(BundleError, match="sha256 is"):
        engine_leader(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("vocabulary", {}),
        ("mappo", {}),
        ("pointer", {"attention": "dense"}),
        ("pointer", {"decoding": "one_pass"}),
        ("pointer", {"hidden_size": 24, "num_heads": 2}),
    ],
)
def test_models_of_another_kind_are_led_by_torch(tmp_path: Path, kind: str, changes: dict) -> None:
    model = new_model(kind, dataclasses.replace(PADDED, **changes), 0)
    save_bundle(Bundle(model, new_follower_model(PADDED, 0), PAPER, 1, 5), tmp_path / "x")
    with pytest.raises(NoEngine, match="which the compiled engine does not run"):
        engine_leader(str(tmp_path / "x"))
    assert isinstance(make_leader(str(tmp_path / "x")), ModelLeader)
    missing = WITHOUT_TORCH.replace('"bundled"', repr(str(tmp_path / "x")))
    done = subprocess.run([sys.executable, "-c", missing], capture_output=True, text=True, timeout=280)
    assert "TorchMissing" in done.stderr and "and torch is not installed" in done.stderr.splitlines()[-1]


OF_NO_MATTER = {"code_cache", "compact", "portable_target"}
"""Sources that compiled code takes nothing from: where it is kept, and what numba knows by itself."""


def test_the_digest_covers_what_compiled_code_is_made_of() -> None:
    root = BUNDLES.parent.parent
    for path in SOURCES:
        if path.parent.name != "engine":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not [each.name for each in node.names if each.name.startswith("policy")], path
            elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("policy"):
                module = root / (node.module or "").replace(".", "/")
                # Of a package its modules are imported: those count.
                named = [module / each.name for each in node.names] if module.is_dir() else [module]
                missing = {each.with_suffix(".py") for each in named if each.name not in OF_NO_MATTER} - set(SOURCES)
                assert not missing, f"{path.name} imports {missing}"


WITHOUT_TORCH = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Blocked())
import numpy as np
from policy.cell_state import make_cell_state
from policy.intent import Intent
from policy.leader import never_expires
from policy.registry import make_leader
leader = make_leader("bundled")
for k in (1, 100):
    state = make_cell_state("c", num_rbgs=6, slots_per_dcm=k, slot=0, ue_ids=(1, 2), cqi_U=[7.0, 9.0])
    (decision,) = leader.decide([state], [Intent()], never_expires)
    print(decision.decided_by, len(decision.tokens) > 6, "torch" in sys.modules)
"""


def test_it_needs_no_torch() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, timeout=280)
    assert done.stdout.splitlines() == ["model True False"] * 2, done.stderr


def test_its_code_is_loaded_without_what_only_compiling_takes() -> None:
    """numba makes ready to compile whatever it may be asked for next; a pod is asked for nothing more."""
    code = (
        "import sys; from policy.engine.loading import engine_leader;"
        "engine_leader('bundled').prepare(may_compile=MAY);"
        "print('numba.np.npyimpl' in sys.modules)"
    )
    for may, made_ready in (("True", None), ("False", False)):  # the first may compile, or find it compiled
        done = subprocess.run([sys.executable, "-c", code.replace("MAY", may)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert made_ready is None or done.stdout == f"{made_ready}\n"
