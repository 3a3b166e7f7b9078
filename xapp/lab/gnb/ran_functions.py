"""What the simulated node says of itself in E2 setup: its cells, and its RAN functions: KPM, and what controls it."""

from __future__ import annotations

from collections.abc import Sequence

from policy.errors import UserMistake
from xapp.e2.dcm import messages as dcm
from xapp.e2.dcm.messages import Carrier
from xapp.e2.e2ap import procedures
from xapp.e2.kpm import messages as kpm

KPM_FUNCTION_ID = 2
KPM_OID = "1.3.6.1.4.1.53148.1.2.2.2"
KPM_STYLE = 4
"""Measurements of each UE under a common condition: action definition format 4, indication message format 3."""
REPORT_STYLES = (
    (1, "E2 Node Measurement", 1),
    (2, "E2 Node Measurement for a single UE", 1),
    (3, "Condition-based, UE-level E2 Node Measurement", 2),
    (KPM_STYLE, "Common Condition-based, UE-level Measurement", 3),
    (5, "E2 Node Measurement for multiple UEs", 3),
)
"""Number (that of the action definition's format, too), name and message format of each. The lab's node lists them as
real ones do, and answers one alone, which the xApp asks for."""
PLMN = bytes.fromhex("00f110")
"""001-01, the test network."""
CELL_ID_BITS = 4
"""NR cell identity = gNB id (32 bits) and cell (4 bits)."""
MAX_CELLS = 2**CELL_ID_BITS - 1
RBG_SIZE_PRB = 4
"""As in the reference game: an RBG has 4 PRB, 576 resource elements."""


def make_identity(gnb_id: int, *, is_du: bool = False) -> procedures.GnbId:
    return procedures.GnbId(PLMN, gnb_id, du_id=0 if is_du else None)


def make_carriers(gnb_id: int, cells: int, num_rbgs: int) -> tuple[Carrier, ...]:
    """Cells 1, 2, ... of the gNB. Raises UserMistake for more than its cell identity can number."""
    if not 1 <= cells <= MAX_CELLS:
        raise UserMistake(f"{cells} cells: expected 1 to {MAX_CELLS}")
    return tuple(
        Carrier.of(
            f"{PLMN.hex()}{gnb_id << CELL_ID_BITS | number:09x}",
            bwp_size_prb=num_rbgs * RBG_SIZE_PRB,
            rbg_size_prb=RBG_SIZE_PRB,
        )
        for number in range(1, cells + 1)
    )


def dcm_function(carriers: tuple[Carrier, ...]) -> procedures.RanFunctionItem:
    """The DCM function of a node with these cells."""
    definition = dcm.encode_ran_function(dcm.RanFunction(carriers, features=dcm.FEATURE_PACKETS))
    return procedures.RanFunctionItem(dcm.DCM_FUNCTION_ID, definition, 1, dcm.DCM_OID)


def setup_request(
    transaction_id: int,
    identity: procedures.GnbId,
    measurements: Sequence[str],
    controls: Sequence[procedures.RanFunctionItem],
    *,
    all_styles: bool = True,
) -> procedures.E2SetupRequest:
    """`measurements`: what the KPM function offers. `controls`: the functions beside it. all_styles: the KPM function
    lists every report style, as srsRAN's does.
    """
    kpm_function = kpm.RanFunction(
        short_name="ORAN-E2SM-KPM",
        oid=KPM_OID,
        description="KPM monitor",
        trigger_styles=(kpm.TriggerStyle(1, "Periodic report", 1),),
        report_styles=tuple(
            kpm.ReportStyle(style, name, style, tuple(measurements), 1, message_format)
            for style, name, message_format in REPORT_STYLES
            if all_styles or style == KPM_STYLE
        ),
    )
    functions = (
        procedures.RanFunctionItem(KPM_FUNCTION_ID, kpm.encode_ran_function(kpm_function), 1, KPM_OID),
        *controls,
    )
    # Mandatory since E2AP v2; the parts would hold NG setup messages, of which a simulated node has none.
    component = procedures.ComponentConfig("ng", ("e2nodeComponentInterfaceTypeNG", {"amf-name": "lab"}), b"\0", b"\0")
    return procedures.E2SetupRequest(transaction_id, identity, functions, (component,))
