"""How gNBs of today behave beyond what the standards say: what `stackmac gnb --behave` imitates, from public sources.

All of them are controlled by E2SM-RC quotas, OCUDU by E2SM-CCC ratios of slices as well, and say nothing where nobody
is. OpenAirInterface itself takes no quotas:
the lab's takes them as OCUDU does, so that the loop can close around its reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from policy.errors import RunFailed, UserMistake
from xapp.e2.kpm.messages import Condition
from xapp.e2.ue_id.ue_id import GnbDuUeId, GnbUeId, Guami, UeId
from xapp.lab.gnb.ran_functions import PLMN

GUAMI = Guami(PLMN, 1, 1, 1)
"""The AMF's that the lab's UEs are registered at."""
NODE_SST = b"\x01"
"""The only slice of the lab's nodes."""


class NodeDied(RunFailed):
    """The node that is imitated would have crashed here: one line."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One kind of node. The default is the lab's own, which keeps to the standards."""

    observe: str = "full"
    """Its observation profile."""
    is_du: bool = False
    """It is the DU of a split gNB: its RAN name says so."""
    ignores_cells: bool = False
    """Every subscription brings all UEs of the node, whichever cell it names."""
    refresh_ms: int = 0
    """How often its measurements are renewed; reports in between repeat them. 0 = for each report."""
    numbers_indications: bool = True
    echoes_calls: bool = True
    """Its answers name the control that they answer."""
    all_styles: bool = True
    """Its KPM function lists all report styles, as agents do that take several conditions; else style 4 alone."""
    conditions: Literal["ignored", "snssai"] = "ignored"
    """What becomes of report style 4's conditions; snssai: anything but S-NSSAI EQUAL in octets is its death."""
    ue_ids: Literal["du", "gnb"] = "du"
    offers_ratios: bool = False
    """It has a CCC function beside RC."""

    def ue_id(self, number: int) -> UeId:
        """The identity of a UE as the node reports it."""
        if self.ue_ids == "du":
            return GnbDuUeId(number)
        return GnbUeId(number, GUAMI, ran_ueid=number.to_bytes(8, "big"))

    def number_of(self, ue_id: UeId) -> int | None:
        """The other way round; None for an identity of another kind."""
        if self.ue_ids == "du":
            return ue_id.f1ap_id if isinstance(ue_id, GnbDuUeId) else None
        return ue_id.amf_ue_ngap_id if isinstance(ue_id, GnbUeId) and ue_id.guami == GUAMI else None

    def reports_anybody(self, conditions: tuple[Condition, ...]) -> bool:
        """Whether UEs meet the conditions: all of the lab's are in one slice. Raises NodeDied."""
        if self.conditions == "ignored":
            return True
        return True in {_is_our_slice(condition) for condition in conditions}


def _is_our_slice(condition: Condition) -> bool:
    if condition.test != "sNSSAI":
        raise NodeDied(f"KPM style 4 under a condition of {condition.test}: a null call in OpenAirInterface")
    if condition.expression != "equal" or condition.value is None or list(condition.value) != ["valueOctS"]:
        shown = f"{condition.expression} {condition.value}"
        raise NodeDied(f"S-NSSAI {shown}: OpenAirInterface asserts EQUAL and an octet string")
    octets = condition.value["valueOctS"]
    octets = bytes.fromhex(octets) if isinstance(octets, str) else bytes(octets)
    if len(octets) not in (1, 4):
        raise NodeDied(f"an S-NSSAI of {len(octets)} octets: OpenAirInterface asserts 1 or 4")
    return octets in (NODE_SST, NODE_SST + b"\xff\xff\xff")


BEHAVIOURS: dict[str, Behaviour] = {
    "": Behaviour(),
    "ocudu": Behaviour(
        "kpm_srsran", True, True, 1000, numbers_indications=False, echoes_calls=False, offers_ratios=True
    ),
    "oai": Behaviour(
        "kpm_oai",
        numbers_indications=False,
        echoes_calls=False,
        all_styles=False,
        conditions="snssai",
        ue_ids="gnb",
    ),
    "srsran": Behaviour("kpm_srsran", True, True, 1000, numbers_indications=False),
}
"""By name; "" = the lab's own."""
BEHAVIOUR_NAMES = " or ".join(", ".join(filter(None, BEHAVIOURS)).rsplit(", ", 1))
"""The names for a sentence."""


def make_behaviour(name: str) -> Behaviour:
    """Raises UserMistake for an unknown name."""
    if name not in BEHAVIOURS:
        raise UserMistake(f"--behave is {name!r}, expected one of {', '.join(filter(None, BEHAVIOURS))}")
    return BEHAVIOURS[name]
