"""`stackmac bench`: how fast the decision path is, against a named alternative measured in the same run.

Medians of a busy machine say little by themselves; the ratio of two of them, measured one after the other, compares
across machines. Inputs are made from fixed seeds.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
import typer

from policy.errors import is_installed
from policy.leader import Leader
from policy.registry import make_leader
from policy.shipped import BUNDLED
from training.command_line.options import argument, command, option
from training.command_line.result_file import check_json_path, write_json
from training.command_line.values import goes_with, some_names_in
from xapp.bench.decision_path import (
    DCM_INSTANCE,
    NCI,
    DecisionPath,
    allocation,
    control_bytes,
    dcm_report,
)
from xapp.bench.in_turn import Case, in_turn
from xapp.control.columns.compiled_code import read_all_compiled
from xapp.control.sender import REQUESTOR_ID
from xapp.e2.dcm import messages as dcm
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.rc import messages as rc
from xapp.e2.rc.json_types import RC_TYPES
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.rmr.transport import RmrMessage

SEED = 1
RC_FUNCTION_ID = 3
MIN_REPEATS = 20
MAX_REPEATS = 400
CASE_S = 0.6
"""Time spent on each side of a comparison, more or less."""
STARTS = 5
"""Of each kind of process."""
UES = (8, 20, 100)
MESSAGE_BYTES = (2_000, 20_000)
"""A report of a few UEs, and one of a hundred."""
SLOTS_PER_DCM = ((1, 6), (100, 17))
"""(K, RBGs): the paper's game and a RIC's pace."""


class Part(StrEnum):
    """What can be measured."""

    ALL = "all"
    KPM = "kpm"
    E2AP = "e2ap"
    RC = "rc"
    DCM = "dcm"
    RMR = "rmr"
    DECISION = "decision"
    LOOP = "loop"
    START = "start"
    CAPACITY = "capacity"


OF_MINUTES = (Part.START, Part.CAPACITY)
"""Parts that start processes, and are not among `all`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison."""

    part: str
    what: str
    median_us: float
    p99_us: float
    alternative: str
    alternative_median_us: float
    ratio: float
    """The alternative's median per ours: above 1 we are faster."""
    params: dict[str, Any] = field(default_factory=dict)
    """Of a decision: bundle, k, ues, rbgs; of a report: case, ues, measurements, bytes; of processes what they took."""


def compare(part: Part, what: str, run: Callable[[], object], alternative: str, other: Callable[[], object]) -> Row:
    """Measure a part and its alternative in turn."""
    found = in_turn({"ours": run, "theirs": other}, CASE_S, MIN_REPEATS, MAX_REPEATS, clock=time.perf_counter)
    return _row(part, Case(what, {}, found["ours"], alternative, found["theirs"].median_us))


def _row(part: Part, case: Case) -> Row:
    ratio = float(f"{case.theirs_us / case.ours.median_us:.3g}")
    ours = (round(case.ours.median_us, 1), round(case.ours.p99_us, 1))
    return Row(str(part), case.what, *ours, case.alternative, round(case.theirs_us, 1), ratio, case.params)


# -- codecs -----------------------------------------------------------------------------------------------------------


def kpm_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Measurement reports, read and written, against all that can read them."""
    from xapp.bench.kpm import kpm_cases

    for case in kpm_cases(rng, CASE_S, MIN_REPEATS, MAX_REPEATS):
        yield _row(Part.KPM, case)


def e2ap_rows(rng: np.random.Generator) -> Iterator[Row]:
    """The hot messages by hand and by pycrate's compiled ASN.1; payloads of 20 UEs."""
    from xapp.e2.e2ap import pycrate_codec as e2ap_asn1

    indication = dcm_report(rng, ues=20, k=1, num_rbgs=6, sn=1)
    request = e2ap.ControlRequest(
        e2ap.RicRequestId(REQUESTOR_ID, DCM_INSTANCE),
        dcm.DCM_FUNCTION_ID,
        dcm.encode_control_header(dcm.ControlHeader(NCI)),
        control_bytes(allocation(rng, ues=20, num_rbgs=6)),
        (1).to_bytes(16, "big"),
        e2ap.AckRequest.ACK,
    )
    control = e2ap.encode_control_request(request)
    value = e2ap_asn1.decode_value(control)
    yield compare(
        Part.E2AP,
        "read an indication",
        lambda: e2ap.decode_indication(indication.payload),
        "pycrate",
        lambda: e2ap_asn1.decode_value(indication.payload),
    )
    yield compare(
        Part.E2AP,
        "write a control request",
        lambda: e2ap.encode_control_request(request),
        "pycrate",
        lambda: e2ap_asn1.encode_value(value),
    )


def rc_rows(rng: np.random.Generator) -> Iterator[Row]:
    """A PRB quota for one UE of 100 in turn: header and message, and the RICcontrolRequest that carries them.

    Nothing public writes these without an ASN.1 compiler's output, and pycrate's cannot write types that contain
    themselves: against our own composed types, and inside pycrate's E2AP.
    """
    from xapp.e2.e2ap import pycrate_codec as e2ap_asn1

    quotas = [
        (GnbDuUeId(ue), rc.PrbQuota(b"\x00\xf1\x10", 1, 1, 0, int(percent), 100))
        for ue, percent in enumerate(rng.integers(5, 101, 100))
    ]
    header_type, message_type = RC_TYPES["rc-control-header"], RC_TYPES["rc-control-message"]
    first = rc.encode_prb_quota_control(*quotas[0])
    header, message = header_type.decode(first.header), message_type.decode(first.message)

    def request(control: rc.RcControl) -> e2ap.ControlRequest:
        return e2ap.ControlRequest(
            e2ap.RicRequestId(REQUESTOR_ID, DCM_INSTANCE),
            RC_FUNCTION_ID,
            control.header,
            control.message,
            (1).to_bytes(16, "big"),
            e2ap.AckRequest.ACK,
        )

    value = e2ap_asn1.decode_value(e2ap.encode_control_request(request(first)))
    in_turn = cycle(quotas)
    yield compare(
        Part.RC,
        "write a PRB quota",
        lambda: rc.encode_prb_quota_control(*next(in_turn)),
        "composed types",
        lambda: (header_type.encode(header), message_type.encode(message)),
    )
    yield compare(
        Part.RC,
        "write a PRB quota and its control request",
        lambda: e2ap.encode_control_request(request(rc.encode_prb_quota_control(*next(in_turn)))),
        "same in pycrate",
        lambda: (header_type.encode(header), message_type.encode(message), e2ap_asn1.encode_value(value)),
    )


def dcm_rows(rng: np.random.Generator) -> Iterator[Row]:
    """Indications read and controls written, against protobuf's own objects and JSON."""
    from xapp.bench.dcm import dcm_cases

    for case in dcm_cases(rng, CASE_S, MIN_REPEATS, MAX_REPEATS):
        yield _row(Part.DCM, case)


# -- messages ----------------------------------------------------------------------------------------------------------


def rmr_rows(rng: np.random.Generator) -> Iterator[Row]:
    """A question of 2 and of 20 KB and its answer, a process at the other end; librmr only where it can be loaded."""
    from xapp.bench.rmr import rmr_cases

    for size in MESSAGE_BYTES:
        for case in rmr_cases(rng.bytes(size), CASE_S, MIN_REPEATS, MAX_REPEATS):
            yield _row(Part.RMR, case)


# -- decisions ---------------------------------------------------------------------------------------------------------


def engine_rows(rng: np.random.Generator) -> Iterator[Row]:
    """The compiled decision of the shipped bundles against all of its alternatives, measured in turn."""
    from xapp.bench.decision import engine_cases

    for case in engine_cases(rng, CASE_S, MIN_REPEATS, MAX_REPEATS):
        yield _row(Part.DECISION, case)


def decision_rows(rng: np.random.Generator, leaders: list[Leader]) -> Iterator[Row]:
    """State to decision, nothing around it; against proportional fair, and that against round robin."""
    for leader in leaders:
        if leader.name == BUNDLED and is_installed("torch"):
            yield from engine_rows(rng)
            continue
        other_leader = make_leader("round_robin" if leader.name == "proportional_fair" else "proportional_fair")
        for k, num_rbgs in SLOTS_PER_DCM:
            for ues in UES:
                with closing(DecisionPath(leader, k, num_rbgs)) as path:
                    run = partial(path.decide_alone, path.state(rng, ues))
                with closing(DecisionPath(other_leader, k, num_rbgs)) as path:
                    other = partial(path.decide_alone, path.state(rng, ues))
                yield compare(Part.DECISION, _case(leader, k, ues, num_rbgs), run, other_leader.name, other)


def loop_rows(rng: np.random.Generator, leaders: list[Leader]) -> Iterator[Row]:
    """Report octets in, control octets out: decode, join, decide, guard, encode; against the leader alone."""
    read_all_compiled(may_compile=True)
    for leader in leaders:
        for k, num_rbgs in SLOTS_PER_DCM:
            for ues in UES:
                with closing(DecisionPath(leader, k, num_rbgs)) as path:
                    alone = partial(path.decide_alone, path.state(rng, ues))
                    reports = iter([path.reports(rng, ues) for _ in range(MAX_REPEATS + 1)])
                    run = partial(_decide_next, path, reports)
                    row = compare(Part.LOOP, _case(leader, k, ues, num_rbgs), run, "the leader alone", alone)
                    outside_us = round(row.median_us - row.alternative_median_us, 1)
                    yield replace(row, params={"k": k, "ues": ues, "rbgs": num_rbgs, "outside_us": outside_us})


def _decide_next(path: DecisionPath, reports: Iterator[tuple[RmrMessage, RmrMessage]]) -> None:
    path.decide(next(reports))


def _case(leader: Leader, k: int, ues: int, num_rbgs: int) -> str:
    return f"{leader.name}, K={k}, {ues} UEs x {num_rbgs} RBGs"


# -- processes --------------------------------------------------------------------------------------------------------


def start_rows() -> Iterator[Row]:
    """From the start of a process to its first control, with each kind of leader in turn; wall time."""
    from xapp.bench.start import start_cases

    for case in start_cases(STARTS):
        yield _row(Part.START, case)


def capacity_rows(leaders: list[str]) -> Iterator[Row]:
    """Ever more cells on one process and on two, until there are too many; then twice as many as one can do."""
    from xapp.bench.capacity import capacity_cases

    for case in capacity_cases(leaders):
        yield _row(Part.CAPACITY, case)


# -- the command -------------------------------------------------------------------------------------------------------


def measure(part: Part, leaders: list[Leader]) -> Iterator[Row]:
    """The rows of one part, or of all, as they are measured."""
    parts: dict[Part, Callable[[np.random.Generator], Iterator[Row]]] = {
        Part.KPM: kpm_rows,
        Part.E2AP: e2ap_rows,
        Part.RC: rc_rows,
        Part.DCM: dcm_rows,
        Part.RMR: rmr_rows,
        Part.DECISION: lambda rng: decision_rows(rng, leaders),
        Part.LOOP: lambda rng: loop_rows(rng, leaders),
        Part.START: lambda rng: start_rows(),
        Part.CAPACITY: lambda rng: capacity_rows([leader.name for leader in leaders]),
    }
    for name, rows in parts.items():
        if part == name or (part is Part.ALL and name not in OF_MINUTES):
            yield from rows(np.random.default_rng(SEED))


bench_app = typer.Typer(add_completion=False, rich_markup_mode=None)


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What `stackmac bench` is given."""

    part: Part = argument("What to measure; all = what takes no minutes.", Part.ALL)
    leaders: str = option(
        "proportional_fair,bundled", "Leaders of `decision`, `loop` and `capacity`, separated by commas."
    )
    json_file: str = option("", "Write the rows as JSON; - = stdout.", "--json", metavar="FILE")


@command(bench_app, "bench", BenchOptions)
def bench(options: BenchOptions) -> int:
    """Speed of the decision path: medians, p99, and ratios to a named alternative measured in the same run."""
    made: list[Leader] = []
    check_json_path(options.json_file)
    asks_leaders = options.part in (Part.ALL, Part.DECISION, Part.LOOP, Part.CAPACITY)
    goes_with("--leaders", options.leaders, BenchOptions().leaders, "decision, loop or capacity", asks_leaders)
    if asks_leaders:
        made = [make_leader(name) for name in some_names_in("--leaders", options.leaders)]
    rows, screen = [], sys.stderr if options.json_file == "-" else sys.stdout
    print(
        f"{'part':<9}{'what':<44}{'median us':>10}{'p99 us':>10}   {'against':<18}{'median us':>10}{'ratio':>9}",
        file=screen,
    )
    for row in measure(options.part, made):
        rows.append(row)
        print(
            f"{row.part:<9}{row.what:<44}{row.median_us:>10.1f}{row.p99_us:>10.1f}   "
            f"{row.alternative:<18}{row.alternative_median_us:>10.1f}{row.ratio:>9.3g}",
            file=screen,
            flush=True,
        )
    if options.json_file:
        write_json(options.json_file, {"rows": [asdict(row) for row in rows]})
    return 0
