"""E2SM-CCC shares of slices, which OCUDU offers: recognised, and recorded (xapp.quotas has their encoders)."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from xapp.config.model import NodeConfig
from xapp.control_kinds.control_kind import ControlKind, Offer, Problem, RecordedCalls
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.ccc import messages as ccc
from xapp.e2.dcm.messages import Carrier
from xapp.quotas.allocation_to_quota import Quota, QuotaRules
from xapp.quotas.ccc_encoder import CccEncoder, CccSettings, SliceShare
from xapp.quotas.slice_store import SliceKeeper
from xapp.ric.nodes import RanFunction


def _write_call(call: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    written = dict(arguments)
    if call in ("new", "settings"):
        written["settings"] = asdict(arguments["settings"])
    if call == "new":
        written["rules"] = asdict(arguments["rules"])
    elif call == "restore":
        written["slices"] = [SliceKeeper.to_value(each) for each in arguments["slices"]]
    elif call == "kept":
        written["numbers"] = sorted(arguments["numbers"])
    elif call == "outcome":
        written["data"] = base64.b64encode(arguments["data"]).decode("ascii")
    return written


def _read_settings(event: Mapping[str, Any]) -> CccSettings:
    settings = event["settings"]
    slices = tuple(
        SliceShare(name, sst, sd, None if before is None else Quota(*before))
        for name, sst, sd, before in settings["slices"]
    )
    return CccSettings(settings["plmn"], slices, tuple(settings["cells"]), settings["learns"])


_REPEAT: dict[str, Callable[[CccEncoder, Mapping[str, Any]], object]] = {
    "release": lambda encoder, event: encoder.give_back(str(event["cell"])),
    "answered": lambda encoder, event: encoder.answered(
        event["subject"], event["accepted"], echoed=event["echoed"], now_s=float(event["now_s"])
    ),
    "not_sent": lambda encoder, event: encoder.not_sent(event["subject"]),
    "outcome": lambda encoder, event: encoder.outcome(event["subject"], base64.b64decode(event["data"])),
    "doubt": lambda encoder, event: encoder.doubt(),
    "kept": lambda encoder, event: encoder.kept(frozenset(event["numbers"])),
    "settings": lambda encoder, event: encoder.use_settings(_read_settings(event)),
    "restore": lambda encoder, event: encoder.restore([SliceKeeper.from_value(value) for value in event["slices"]]),
}


class Kind(SliceKeeper, ControlKind):
    """Control of nodes that take shares of slices."""

    function = "a CCC function for shares of slices"
    oids = ccc.CCC_OIDS
    short_name = ccc.CCC_NAME
    knows_slices_only = True
    calls = RecordedCalls(
        "ratio", _write_call, lambda event: CccEncoder(_read_settings(event), QuotaRules(**event["rules"])), _REPEAT
    )
    decode = staticmethod(ccc.decode_ran_function)

    @staticmethod
    def offer(node: str, function: RanFunction, settings: NodeConfig) -> Offer | Problem:
        try:
            described = ccc.decode_ran_function(function.definition)
        except E2DecodeError as error:
            return Problem("function_unreadable", f"{node}: {error}")
        if not described.cells:
            named = ", ".join(described.other_structures) or "nothing"
            return Problem("slice_ratios_not_offered", f"{node}: its CCC function lists {named}, not {ccc.RATIO}")
        carriers = {
            cell: Carrier.of(cell, bwp_size_prb=settings.num_prb, rbg_size_prb=settings.rbg_prb)
            for cell in described.cells
            if not settings.cells or cell in settings.cells
        }
        known = [each.name for each in settings.slices if each.min_ratio is not None]
        unknown = [each.name for each in settings.slices if each.min_ratio is None]
        problems = []
        if not settings.slices or (unknown and not settings.baseline_from_outcome):
            which = f"slices {', '.join(unknown)}" if unknown else "any slice"
            text = f"{node}: nodes[].slices does not say what {which} had before: not limited by CCC"
            problems.append(Problem("slice_baseline_unknown", text))
        if known or (unknown and settings.baseline_from_outcome):
            problems.append(Problem("slices_both_directions", f"{node}: UL and DL are limited together by its CCC"))
        return Offer(function.id, carriers, described.cells, tuple(problems))
