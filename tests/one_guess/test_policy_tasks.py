"""A scheduler, a KPM measurement in the prompt, and the lease: each is one place in policy/."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def test_a_scheduler_is_a_function_and_its_name_in_the_registry(changed: Callable[..., Any]) -> None:
    tree = changed(
        "policy/schedulers/schedulers.py",
        (
            "SCHEDULERS: dict[str, Scheduler] = {",
            '''def first_takes_all(state: CellState, intent: Intent) -> Allocation:
    """Everything to the first UE that may have it."""
    return _constant(state, intent, 0, LeftoverRule(ALL_CLASSES, 1.0))


SCHEDULERS: dict[str, Scheduler] = {''',
        ),
        ("        fair_caps,\n", "        fair_caps,\n        first_takes_all,\n"),
    )
    assert (
        tree.python(
            """
from policy.intent import Intent
from policy.registry import make_leader
from training.replay import replay
from training.simulator.cell import CellBatch
from training.simulator.scenario import make_scenario
from xapp.config.model import parse_controls
from xapp.lab.command import check_names
from xapp.lab.options import LabOptions

check_names(LabOptions(leader="first_takes_all", compare="first_takes_all").resolved())
parse_controls({"leader": "first_takes_all"})
leader = make_leader("first_takes_all")
world = CellBatch(make_scenario("mix"), cells=2, ues=3, seed=1)
decisions = leader.decide(world.observe(), [Intent()] * 2, lambda: False)
world.play([decision.allocation for decision in decisions], 5)
print({decision.decided_by for decision in decisions}, decisions[0].allocation.owner_M.max(), world.slot)
"""
        ).split("\n")[0]
        == "{'first_takes_all'} 0 5"
    )
    refused = tree.stackmac("lab", "--leader", "nobody")
    assert refused.returncode == 2 and "fair_caps, first_takes_all" in refused.stderr


def test_a_kpm_measurement_of_the_prompt_is_one_entry(changed: Callable[..., Any]) -> None:
    """It is asked for, checked, known under the profiles of nodes that offer it, and stands in both prompts."""
    tree = changed(
        "policy/observation.py",
        (
            '    "CQI": Measurement(',
            '    "DRB.RlcDelayUl": Measurement(1e6, "head_delay_slots_U", per=10.0),\n    "CQI": Measurement(',
        ),
    )
    printed = tree.python(
        """
import numpy as np
from policy.intent import Intent
from policy.observation import make_profile
from policy.prompt.compact import PromptLayout
from policy.prompt.text import prompt_text
from xapp.config.model import Controls
from xapp.control.cell_tracker import CellTracker
from xapp.e2.kpm.report_reader import KpmReport

def state_of(*delays):
    tracker = CellTracker("gnb/00f110000000011", num_rbgs=6, report_period_ms=100, has_kpm=True, has_dcm=False)
    values = np.array([[float(delay)] for delay in delays])
    tracker.on_kpm(1, KpmReport((1, 2), ("DRB.RlcDelayUl",), values, 100, 0, b"", ()))
    return tracker.state()

print("DRB.RlcDelayUl" in Controls().measurements, "head_delay_slots_U" in make_profile("kpm_srsran").columns)
state, other = state_of(70, 2e6), state_of(250, 2e6)
print(state.head_delay_slots_U.tolist())
print([line for line in prompt_text(state, Intent()).splitlines() if line.startswith("UE")])
layout = PromptLayout()
prompts = [layout.encode([one], [Intent()]).tokens_NT for one in (state, other)]
fields = [layout.ue_fields[column].name for _, column in np.argwhere(prompts[0] != prompts[1])]
print(fields)
"""
    ).splitlines()
    assert printed[0] == "True True"
    assert printed[1] == "[7.0, nan]"
    assert "delay 7" in printed[2] and "delay unknown" in printed[2]
    assert printed[3] == "['head_delay_slots']"


def test_the_lease_is_one_constant(changed: Callable[..., Any]) -> None:
    """The configuration, the control on the wire, and the simulator that leaders are trained in all follow it."""
    tree = changed("policy/time_scales.py", ("LEASE_PERIODS = 2", "LEASE_PERIODS = 5"))
    printed = tree.python(
        """
import numpy as np
from policy.allocation import OPEN, Allocation, LeftoverRule
from policy.cell_state import make_cell_state
from training.simulator.lease import ControlSchedule
from training.simulator.scenario import make_scenario
from xapp.config.model import Controls
from xapp.control.encoder import DecisionContext, SendContext
from xapp.control_kinds.dcm import DcmEncoder
from xapp.e2.dcm.messages import decode_control
from xapp.lab.gnb.ran_functions import make_carriers

carrier = make_carriers(1, 1, 6)[0]
allocation = Allocation((1,), np.full(6, OPEN, np.int16), LeftoverRule())
state = make_cell_state("gnb/x", num_rbgs=6, slots_per_dcm=20, slot=0, ue_ids=(1,))
context, send_context = DecisionContext(state, lead_slots=20), SendContext(1, lambda: 1, 0.0)
(sent,) = DcmEncoder().encode("gnb/x", carrier, allocation, context, send_context)
print(Controls().lease_periods, decode_control(sent.message).valid_for_slots)
print([make_scenario(name).lease_slots for name in ("mix", "ric20")])
print(ControlSchedule(20).offer(allocation, next_slot=0).end_slot)
"""
    ).splitlines()
    assert printed == ["5 80", "[5, 80]", "100"]
