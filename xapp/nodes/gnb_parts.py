"""Parts of one gNB: a CU and its DUs are E2 nodes of their own; their RAN names have the gNB's identity in common.

OSC's e2term names a gNB or CU `gnb_<MCC>_<MNC>_<gNB id>`, a DU `gnbd_..._<DU id>`, a CU-UP `gnbc_..._<CU-UP id>`. Only
a DU schedules, so only a DU can be controlled: that the others cannot is as it should be. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_NAME = re.compile(r"gnb[a-z]?_([0-9a-f]+_[0-9a-f]+_[0-9a-f]+)(?:_[0-9a-f]+)?", re.IGNORECASE)

HARMLESS = frozenset({"no_control_function", "no_kpm_function", "quotas_not_offered", "measurements_missing"})
"""What is no fault of a part while another one of the same gNB is controlled."""


def gnb_identity(name: str) -> str:
    """What the names of a gNB's parts have in common; "" for a name of another form."""
    found = _NAME.fullmatch(name)
    return found[1].lower() if found else ""


def controlled_part(name: str, controlled: Iterable[str]) -> str:
    """Return the first of the controlled nodes that is another part of the same gNB; "" = none."""
    identity = gnb_identity(name)
    if not identity:
        return ""
    return next((other for other in sorted(controlled) if other != name and gnb_identity(other) == identity), "")
