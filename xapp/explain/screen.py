"""A decision's explanation (xapp.explain.document) on a screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from policy.errors import counted
from xapp.a1.target_lines import line as target_line

MAX_SHOWN_UES = 6
"""UEs of a prompt that was not answered, where none is asked about."""
MAX_ALTERNATIVES = 3
"""Of an RBG, besides who got it."""
CIRCUMSTANCES = ("buffer", "buffer_unknown", "cap", "floor", "quota", "guard_changed")
"""Findings that explain nothing by themselves."""


def show(console: Console, document: Mapping[str, Any], ue: int | None) -> None:
    """The whole answer: about one UE if one was asked for, else a line for each."""
    _head(console, document, ue)
    for entry in document["ues"]:
        if ue is not None:
            _one_ue(console, document, entry)
    if ue is None:
        _all_ues(console, document)
    _token_probabilities(console, document, ue)


def _head(console: Console, document: Mapping[str, Any], ue: int | None) -> None:
    owners = document["allocation"]["owners"]
    console.print(f"[bold]decision {document['id']}[/] about {escape(document['cell'])} at {document['time']}")
    if document.get("without_leader"):
        _without_leader(console, document, ue)
    took = f"{document['decision_ms']:.1f} ms to decide, {document['loop_ms']:.1f} ms from report to control"
    console.print(f"decided by [bold]{escape(document['decided_by'])}[/] ({took})")
    console.print(f"RBGs       {_owners(owners)}")
    leftover = document["allocation"]["leftover"]
    classes = "+".join(leftover["classes"]) or "nobody"
    console.print(f"leftovers  for {classes}, {leftover['contenders']:g} contenders")
    for grant in document["allocation"]["periodic_grants"]:
        slots = f"slots {grant['phase_slots']} + n x {grant['period_slots']}"
        console.print(f"grant      RBG {grant['rbg']} to UE {grant['ue']} in {slots}")
    console.print(f"control    {_control(document['control'])}")
    for change in document["guard"]:
        console.print(f"guard      {escape(change)}")
    for problem in document["limits"]["not_enforced"]:
        console.print(f"limits     {escape(problem)}")
    for target in document.get("targets", ()):
        console.print(f"target     {escape(target_line(target))}")
    console.print()


def _without_leader(console: Console, document: Mapping[str, Any], ue: int | None) -> None:
    """First of all: that the leader did not decide, why, who did instead, and what a leader is asked in such a case."""
    silence, prompt = document["without_leader"], document["prompt"]
    console.print(f"[bold]the leader, {escape(silence['leader'])}, did not decide here[/]: {escape(silence['why'])}")
    console.print(f"in its place decided {escape(silence['decided_instead'])}")
    asked = "it was asked" if silence["was_asked"] else "it would have been asked"
    of = f" (of {', '.join(silence['owners'])})" if silence["owners"] else ""
    shown = ", and shown:" if prompt else ""
    rbgs = counted(document["state"]["num_rbgs"], "RBG")
    console.print(f"{asked} for an owner of each of {rbgs}{escape(of)}{shown}")
    if "text" in prompt:
        console.print(f"  {escape(prompt['text'])}")
        return
    rows = (
        [("cell", prompt["cell"]), *((f"UE {name}", of_ue) for name, of_ue in prompt["ues"].items())] if prompt else []
    )
    for name, levels in rows[: 2 if ue is not None else MAX_SHOWN_UES + 1]:
        known = (f"{field} {level}" for field, level in levels.items() if level != "not known")
        console.print(f"  {name}: {escape(', '.join(known))}")
    if len(rows) > MAX_SHOWN_UES + 1:
        console.print(f"  and {counted(len(rows) - MAX_SHOWN_UES - 1, 'more UE')}: --ue shows one, --json all")


def _owners(owners: Sequence[object]) -> str:
    """Runs of RBGs with the same owner."""
    runs: list[tuple[int, int, object]] = []
    for rbg, owner in enumerate(owners):
        if runs and runs[-1][2] == owner:
            runs[-1] = (runs[-1][0], rbg, owner)
        else:
            runs.append((rbg, rbg, owner))
    return ", ".join(
        f"{first if first == last else f'{first}-{last}'}: {owner if isinstance(owner, str) else f'UE {owner}'}"
        for first, last, owner in runs
    )


def _control(control: Mapping[str, Any]) -> str:
    chosen = []
    for message in control["messages"]:
        text = f"{message['what']} {message['decision_id']} to {message['node']}: {message['status']}"
        if message["answered_ms"] is not None:
            text += f" after {message['answered_ms']:.1f} ms"
        chosen.append(escape(text + (f" ({message['detail']})" if message["detail"] else "")))
    if control["nothing_sent"]:
        chosen.append(f"nothing sent: {control['nothing_sent']}")
    return "; ".join(chosen) or "nothing sent"


def _one_ue(console: Console, document: Mapping[str, Any], entry: Mapping[str, Any]) -> None:
    console.print(f"[bold]UE {entry['ue']} {_got(entry)}[/]")
    for finding in entry["why"]:
        console.print(f"  - {escape(finding['text'])}")
    reported = next((row for row in document["state"]["ues"] if row["ue"] == entry["ue"]), None)
    if reported is not None:
        known = {name: value for name, value in reported.items() if isinstance(value, int | float) and name != "ue"}
        console.print(f"  reported: {', '.join(f'{name} {value:g}' for name, value in known.items())}")
        silent = [name for name, value in reported.items() if value is None]
        if silent:
            console.print(f"  not reported: {', '.join(silent)}")
    console.print()


def _got(entry: Mapping[str, Any]) -> str:
    if not entry["got_nothing"]:
        parts = []
        if entry["rbgs"]:
            parts.append(f"RBG{'s' if len(entry['rbgs']) > 1 else ''} {', '.join(map(str, entry['rbgs']))}")
        if entry["periodic_grants"]:
            parts.append(f"{len(entry['periodic_grants'])} periodic grants")
        return "got " + " and ".join(parts)
    if entry["dynamic_rbgs"] or entry["may_contend_on"]:
        return "got nothing of its own"
    return "got nothing"


def _all_ues(console: Console, document: Mapping[str, Any]) -> None:
    table = Table(box=None, header_style="dim")
    for column in ("UE", "got", "because"):
        table.add_column(column, overflow="fold")
    for entry in document["ues"]:
        known = ("fallback",) if document.get("without_leader") else ()
        table.add_row(str(entry["ue"]), _got(entry).removeprefix("got "), escape(_main_reason(entry, known)))
    console.print(table)
    console.print()


def _main_reason(entry: Mapping[str, Any], known: Sequence[str] = ()) -> str:
    """The first finding that is more than circumstance. known: codes of what has been told already."""
    texts = {finding["code"]: str(finding["text"]) for finding in reversed(entry["why"])}
    telling = [f["code"] for f in entry["why"] if f["code"] not in (*CIRCUMSTANCES, *known)]
    if not entry["got_nothing"] and "chosen" in texts:
        return texts["chosen"]
    return texts[telling[0]] if telling else next(reversed(texts.values()), "")


def _token_probabilities(console: Console, document: Mapping[str, Any], ue: int | None) -> None:
    token_probabilities = document["odds"]
    if not token_probabilities["computed"]:
        console.print(f"no probabilities: {escape(token_probabilities['reason'])}", style="dim")
        return
    table = Table(box=None, header_style="dim")
    for column in ("asked", "said", "p", "likeliest others", *([f"p(UE {ue})"] if ue is not None else [])):
        table.add_column(column, overflow="fold")
    of_ue = _of_ue(document, ue)
    for step in token_probabilities["steps"]:
        others = [a for a in step["alternatives"] if a["token"] != step["said"] and a["probability"] >= 0.0005]
        row = [
            step["ask"],
            step["said"],
            f"{step['probability']:.3f}",
            ", ".join(f"{a['token']} {a['probability']:.3f}" for a in others[:MAX_ALTERNATIVES]),
        ]
        if ue is not None:
            row.append(next(of_ue, "") if step["ask"].startswith("RBG ") else "")
        table.add_row(*row)
    console.print(table)
    if token_probabilities["log_probs_differ_by"] is None:
        verdict = "the decision kept no log-probabilities to compare with"
    elif token_probabilities["log_probs_equal"]:
        by = f"{token_probabilities['log_probs_differ_by']:.1g}"
        verdict = f"computed anew; equal to those recorded with the decision within {by}"
    else:
        by = f"{token_probabilities['log_probs_differ_by']:.2g}"
        verdict = f"computed anew DIFFER by {by} from those recorded with the decision: not the same model"
    console.print(f"log-probabilities {verdict}", style="dim")


def _of_ue(document: Mapping[str, Any], ue: int | None) -> Any:
    """Its probability on each RBG, as text."""
    entry = next((entry for entry in document["ues"] if entry["ue"] == ue), None)
    return iter([] if entry is None else ["masked" if p is None else f"{p:.3f}" for p in entry["probabilities"]])
