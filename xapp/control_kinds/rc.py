"""E2SM-RC quotas of PRBs, which today's gNBs offer: recognised, and recorded (xapp.quotas has their encoders)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from xapp.config.model import NodeConfig
from xapp.control_kinds.control_kind import ControlKind, Offer, Problem, RecordedCalls, configured_carriers
from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.rc import messages as rc
from xapp.e2.rc.layout import EXPECTED
from xapp.e2.ue_id.ue_id import ue_id_from_value, ue_id_to_value
from xapp.quotas.allocation_to_quota import QuotaRules
from xapp.quotas.quota_store import QuotaKeeper
from xapp.quotas.rc_encoder import RcEncoder, RcSettings
from xapp.ric.nodes import RanFunction


def _write_call(call: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    written = dict(arguments)
    if call in ("new", "settings"):
        settings: RcSettings = arguments["settings"]
        written["settings"] = {**asdict(settings), "plmn": settings.plmn.hex(), "form": settings.form._asdict()}
    if call == "new":
        written["rules"] = asdict(arguments["rules"])
    elif call in ("restore", "suspect"):
        written["ues"] = [ue_id_to_value(ue_id) for ue_id in arguments["ues"]]
    elif call == "kept":
        written["ues"] = sorted(arguments["ues"])
    return written


def _read_new(event: Mapping[str, Any]) -> RcEncoder:
    return RcEncoder(_read_settings(event), QuotaRules(**event["rules"]))


def _read_settings(event: Mapping[str, Any]) -> RcSettings:
    """Read the settings of a call `new` or `settings`; recordings made before there were forms had the first one."""
    settings = event["settings"]
    form = settings.get("form", {"layout": rc.Layout.WRAPPED, "call_process_ids": False})
    return RcSettings(
        bytes.fromhex(settings["plmn"]),
        settings["sst"],
        settings["sd"],
        None if settings["dialect"] is None else Dialect(settings["dialect"]),
        rc.QuotaForm(rc.Layout(form["layout"]), bool(form["call_process_ids"])),
    )


_REPEAT: dict[str, Callable[[RcEncoder, Mapping[str, Any]], object]] = {
    "release": lambda encoder, event: encoder.give_back(str(event["cell"])),
    "answered": lambda encoder, event: encoder.answered(
        event["subject"], event["accepted"], echoed=event["echoed"], now_s=float(event["now_s"])
    ),
    "not_sent": lambda encoder, event: encoder.not_sent(event["subject"]),
    "doubt": lambda encoder, event: encoder.doubt(),
    "kept": lambda encoder, event: encoder.kept(frozenset(event["ues"])),
    "settings": lambda encoder, event: encoder.use_settings(_read_settings(event)),
    "restore": lambda encoder, event: encoder.restore([ue_id_from_value(value) for value in event["ues"]]),
    "suspect": lambda encoder, event: encoder.suspect([ue_id_from_value(value) for value in event["ues"]]),
}


class Kind(QuotaKeeper, ControlKind):
    """Control of nodes that take quotas."""

    function = "an RC function for PRB quotas"
    oids = rc.RC_OIDS
    short_name = "ORAN-E2SM-RC"
    calls = RecordedCalls("quota", _write_call, _read_new, _REPEAT)
    decode = staticmethod(rc.decode_ran_function)

    @staticmethod
    def offer(node: str, function: RanFunction, settings: NodeConfig) -> Offer | Problem:
        try:
            described = rc.decode_ran_function(function.definition)
        except E2DecodeError as error:
            return Problem("function_unreadable", f"{node}: {error}")
        form, listed = described.quota_form()
        if form is not None:
            return Offer(function.id, configured_carriers(settings), form)
        if not described.offers(rc.SLICE_PRB_QUOTA):
            return Problem("quotas_not_offered", f"{node}: its RC function lists {listed.what}")
        text = f"{node}: its PRB quotas list {listed.what}, expected {EXPECTED}: never controlled"
        return Problem("quota_layout_unknown", text)
