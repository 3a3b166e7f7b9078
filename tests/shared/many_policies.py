"""As many policies as there may be, each as large as it may be, and the cell that they are about."""

from __future__ import annotations

import json

import numpy as np

from policy.cell_state import CellState, make_cell_state
from xapp.a1.policy_model import MAX_UES, Policy, parse_policy

CELL = "gnb_1/00f110000000011"
NUM_UES = 32


def maximal(number: int) -> Policy:
    """64 slices and 1000 UEs, half of them in slices, which every other policy names as well."""
    slices = [{"sst": k, "sd": f"{number:06x}", "ue_ids": list(range(k, k + 7))} for k in range(64)]
    ues = list(range(MAX_UES - 64 * 7))
    limits = {"per_ue": {"min_share_percent": 0.1, "max_share_percent": 50}, "per_slice": {"max_share_percent": 90}}
    return parse_policy(json.dumps({"scope": {"cells": [CELL], "slices": slices, "ue_ids": ues}, "limits": limits}))


def cell(first_ue: int) -> CellState:
    """UEs from this one on."""
    ues = tuple(range(first_ue, first_ue + NUM_UES))
    return make_cell_state(CELL, num_rbgs=17, slots_per_dcm=100, slot=0, ue_ids=ues, traffic_class_U=np.zeros(len(ues)))
