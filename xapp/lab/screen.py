"""What a person sees of the lab: a live table per cell, and the summary's tables."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from policy.allocation import ue_letter
from policy.errors import counted
from policy.shipped import BUNDLED
from training.command_line.screen import print_whole

CLASS_NAMES = {0: "eMBB", 1: "periodic", 2: "sporadic"}
FOLLOWERS = {"rule": "best-response rule", "learned": "learned, the bundle's"}
MAX_UE_ROWS = 24
"""Rows of the live table; a larger cell's other UEs are summed in one line."""
SENT_COUNTS = (
    "controls_sent",
    "controls_acked",
    "controls_failed",
    "controls_unanswered",
    "releases_sent",
    "releases_acked",
    "releases_failed",
)
"""Counters of the xApp's."""
LEGEND = "A B ... = that UE   o = open   * = the node's scheduler   . = idle"

COMPILING = "fallback:compiling"
MIN_COMPILING_SHARE = 0.1
"""Share of the decisions from which on it is said that the leader was not compiled."""
WITHHELD = {"hold_out": "   HOLD-OUT: without the leader for a moment", "reverted": "   REVERTED by the KPI guard"}
"""By reason: what the screen adds."""


def live_view(
    gnb: Mapping[str, Any], xapp: Mapping[str, Any], *, title: str, elapsed_s: float, seconds: float, control: str
) -> RenderableType:
    """The running lab, from the newest status lines of the gNB and the xApp. control: by what it controls the gNB."""
    parts: list[RenderableType] = [Text(f"{title}   {min(elapsed_s, seconds):.0f} / {seconds:g} s", style="bold")]
    decisions = xapp.get("cells", {})
    for cell in gnb.get("cells", []):
        decision = _decision_of(cell.get("cell", ""), decisions)
        parts += [Text(_headline(cell, decision)), _cell_table(cell, decision)]
    parts.append(Text(LEGEND, style="dim"))
    parts.append(Text(_counter_line(gnb, xapp, control), style="dim"))
    return Group(*parts)


def addresses(xapp_url: str, a1_url: str) -> str:
    """Whom to ask while the lab runs: two lines."""
    return (
        f"xApp {xapp_url} (stackmac explain --url, guard show --url; /ric/v1/status, /ric/v1/metrics)\n"
        f"A1   {a1_url} (stackmac intent put FILE --url)"
    )


def _decision_of(cell: str, decisions: Mapping[str, Any]) -> Mapping[str, Any]:
    for key, decision in decisions.items():
        if key == cell or key.endswith("/" + cell):
            return dict(decision)
    return {}


def _headline(cell: Mapping[str, Any], decision: Mapping[str, Any]) -> str:
    head = f"cell {cell.get('cell', '?')}   [{decision.get('strip') or cell.get('strip', '')}]"
    if decision:
        head += f"   {decision['decided_by']} in {decision['decision_ms']:.1f} ms, fallbacks {decision['fallbacks']}"
        head += WITHHELD.get(decision.get("withheld", ""), "")
    return head


def _cell_table(cell: Mapping[str, Any], decision: Mapping[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("UE")
    table.add_column("class")
    for name in ("buffer bit", "CQI", "RBGs/slot", "quota", "Mbit/s"):
        table.add_column(name, justify="right")
    letters = {ue: ue_letter(row) for row, ue in enumerate(decision.get("ue_ids", []))}
    ues = cell.get("ues", [])
    for ue in ues[:MAX_UE_ROWS]:
        table.add_row(
            f"{letters.get(ue['id'], ' ')} {ue['id']}",
            CLASS_NAMES.get(int(ue.get("traffic_class", -1)), "?"),
            f"{ue['buffer_bits']:.0f}",
            f"{ue['cqi']:.0f}",
            f"{ue['rbgs']:.2f}",
            "" if ue.get("quota_percent") is None else f"{ue['quota_percent']} %",
            _number(ue["throughput_mbps"], 2),
        )
    if len(ues) > MAX_UE_ROWS:
        rest = ues[MAX_UE_ROWS:]
        table.add_row(
            f"+ {len(rest)}", "", "", "", "", "", _number(sum(ue["throughput_mbps"] or 0.0 for ue in rest), 2)
        )
    return table


def _counter_line(gnb: Mapping[str, Any], xapp: Mapping[str, Any], control: str) -> str:
    sent = _sent(xapp, control)
    return (
        f"slots {gnb.get('slots_run', 0)} (late {gnb.get('slots_late', 0)})   decisions {xapp.get('decisions', 0)}"
        f"   controls {sent.words}, {sent.acknowledged} acknowledged,"
        f" {gnb.get('controls_applied', 0)} applied   decode errors {xapp.get('decode_errors', 0)}"
        f"   outside grants {gnb.get('transmissions_outside_grant', 0)}"
    )


class _Sent(NamedTuple):
    """What became of what was sent to a gNB, counted as its MAC counts what it applies."""

    words: str
    acknowledged: int
    failed: int
    unanswered: int


def _sent(xapp: Mapping[str, Any], control: str) -> _Sent:
    """A quota or a slice's share is taken back as it is given, so there the MAC applies releases, too. A release of DCM
    ends what was applied, and is no part of this.
    """
    counts = {name: int(xapp.get(name, 0)) for name in SENT_COUNTS}
    sent, acknowledged, failed = counts["controls_sent"], counts["controls_acked"], counts["controls_failed"]
    if control == "dcm":
        return _Sent(f"{sent} sent", acknowledged, failed, counts["controls_unanswered"])
    releases = counts["releases_sent"]
    return _Sent(
        f"{sent} sent" + (f" and {counted(releases, 'release')}" if releases else ""),
        acknowledged + counts["releases_acked"],
        failed + counts["releases_failed"],
        counts["controls_unanswered"],
    )


def _controls_line(summary: Mapping[str, Any]) -> str:
    sent = _sent(summary, summary["options"]["control"])
    words = f"controls    {sent.words}, {sent.acknowledged} acknowledged, {sent.failed} failed"
    words += f", {sent.unanswered} unanswered" if sent.unanswered else ""
    words += f", {summary['controls_applied']} applied by the MAC"
    others = [
        (summary["controls_superseded"], "replaced by a newer one before they began"),
        (summary["controls_late"], "came after their period had begun"),
    ]
    more = ", ".join(f"{count} {what}" for count, what in others if count)
    return f"{words} ({more})" if more else words


def print_summary(console: Console, summary: Mapping[str, Any]) -> None:
    """The end of a run: what the loop did, then the comparison."""
    decided = ", ".join(f"{who} {count}" for who, count in sorted(summary["decided_by"].items(), key=lambda kv: -kv[1]))
    lines = [
        f"indications {summary['indications_received']} received, {summary['decode_errors']} undecodable",
        f"decisions   {summary['decisions']}: {decided or 'none'}",
        _controls_line(summary),
        f"MAC         {counted(summary['slots_run'], 'slot')} ({summary['slots_late']} late),"
        f" {counted(summary['transmissions_outside_grant'], 'transmission')} outside grants;"
        f" followers: {FOLLOWERS.get(summary['followers'], summary['followers'])}",
        f"decision    {_times(summary['decision_ms'])}",
        f"loop        {_times(summary['loop_ms'])}, from report frame in to control out",
    ]
    if summary["options"]["control"] in ("rc", "auto"):
        lines.insert(
            4,
            f"quotas      down to {summary['least_quota_percent']} %, above in {summary['ue_reports_over_quota']} of"
            f" {summary['ue_reports_under_quota']} reports of a UE; "
            f"{counted(summary['ues_limited'], 'UE')} limited at the end",
        )
    guard = summary.get("kpi_guard") or {}
    if guard.get("hold_out_share") or guard.get("reverted_cells"):
        by = f", the first after {guard['first_revert_s']} s by {guard['rule']}" if guard["rule"] else ""
        lines.append(
            f"KPI guard   {counted(guard['reverted_cells'], 'cell')} reverted{by};"
            f" hold-outs {100 * guard['hold_out_share']:.1f} % of the reports{' until then' if by else ''}"
        )
    if summary["options"]["control"] in ("ccc", "auto"):
        lines.insert(
            4,
            f"slices      down to {summary['least_quota_percent']} %, above in {summary['slice_reports_over_ratio']} of"
            f" {summary['slice_reports_under_ratio']} reports of a slice; "
            f"{counted(summary['slices_limited'], 'slice')} limited at the end",
        )
    for row in summary.get("targets", ()):
        met = (
            "no window"
            if row["met_share"] is None
            else (
                f"met in {row['met_share']:.0%} of {counted(row['windows'], 'window')}, idle in {row['idle_share']:.0%}"
            )
        )
        lines.append(f"target      {row['policy']}: {row['of']}: {met}; {row['text']}")
    for name, reason in summary.get("policy_reasons", {}).items():
        lines.append(f"policy      {name}: {summary['policies'].get(name, 'NOT_ENFORCED')}: {reason}")
    compiling = summary["decided_by"].get(COMPILING, 0)
    if compiling and compiling >= MIN_COMPILING_SHARE * summary["decisions"]:
        lines.insert(2, _how_to_compile(compiling, summary))
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)
    if summary.get("compare"):
        print_whole(console, comparison_table(summary))
        legend = f"throughput per cell; delay in ms; drops of {' / '.join(CLASS_NAMES.values())}"
        if summary["options"]["control"] in ("rc", "auto"):
            legend += "; replayed leaders see what the gNB reports, and speak through quotas"
        elif summary["options"]["observe"] != "full":
            legend += "; replayed leaders observe everything"
        console.print(legend, style="dim")


def _how_to_compile(compiling: int, summary: Mapping[str, Any]) -> str:
    """Of a run that ended before its leader was ready, or that hardly began with it: no run need do so again."""
    words = ["python", "-m", "policy.engine", *([] if summary["leader"] == BUNDLED else [summary["leader"]])]
    return (
        f"compiling   the leader was not compiled yet for {compiling} of {counted(summary['decisions'], 'decision')};"
        f" once and for all: {shlex.join(words)}"
    )


def comparison_table(summary: Mapping[str, Any]) -> Table:
    """The live run beside replays of the same world, its own leader's first (they should agree)."""
    table = Table(
        title="the same world: live, and replayed under each leader",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("leader", overflow="fold")
    for name in ("Mbit/s", "Jain", "utility", "delay", "coll. %", "drops %"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(f"{summary['leader']} (live)", *_figures(summary), style="bold")
    for name, row in summary["compare"].items():
        table.add_row(name, *_figures(row))
    return table


def _figures(row: Mapping[str, Any]) -> Sequence[str]:
    return (
        _number(row["throughput_mbps"], 3),
        _number(row["jain"], 3),
        _number(row["utility"], 3),
        _number(row["mean_delay_ms"], 2),
        _number(row["collision_fraction"], 1, 100),
        "/".join(_number(share, 0, 100) for share in row["drop_fraction_by_class"].values()),
    )


def _number(value: float | None, digits: int, scale: float = 1.0) -> str:
    return "-" if value is None else f"{scale * value:.{digits}f}"


def _times(times_ms: Mapping[str, float | None]) -> str:
    if times_ms.get("p50") is None:
        return "-"
    return " / ".join(f"{times_ms[p]:.1f}" for p in ("p50", "p95", "p99")) + " ms (p50 / p95 / p99)"
