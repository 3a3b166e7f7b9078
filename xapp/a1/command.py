"""`stackmac intent`: check policies, see what they come to in a cell, put them in force through the A1 mediator."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from policy.cell_state import CellState
from policy.errors import UserMistake, counted
from policy.grammar import MAX_RBGS
from policy.limits import NO_SLICE_CAP, compile_limits
from training.command_line.options import argument, command, option
from training.command_line.values import goes_with
from xapp.a1.absentees import Presence, floors_of_nobody
from xapp.a1.enforcement import unmet
from xapp.a1.policy_model import CELL_FORM, POLICY_TYPE_ID, Policy, PolicyError, make_policy_type, parse_policy
from xapp.a1.policy_set import PolicySet
from xapp.a1.running_targets import running_policies
from xapp.a1.shown_cell import cell_state, suggested_cell, suggested_ues, whose_cells
from xapp.a1.standard_types import (
    StandardPolicy,
    make_standard_type,
    parse_standard,
    type_names,
    type_of,
)
from xapp.a1.standard_words import reasons_not_ours, what_holds, what_is_ours
from xapp.a1.target_lines import ASKS, asked, line, target_rows
from xapp.config.http_url import check_url
from xapp.config.model import A1Config, Controls, load_controls
from xapp.http.rest_client import RestClient, RestError
from xapp.http.token_file import UNAUTHORIZED, token_of

MEDIATOR_URL = "http://service-ricplt-a1mediator-http.ricplt:10000"
MEDIATOR_PATHS = ("A1-P/v2/policytypes", "a1-p/policytypes")
"""Where the mediator in Go takes policies, and where the older one in Python does."""
TARGET_FIELDS = ("policy", "of", "ue_ids", *ASKS)
NOT_MEASURED = "; its share follows what its RBGs carry, and whether it is met is unknown here (--url asks an xApp)"
TIMEOUT_S = 5.0
POLL_S = 0.2

intent_app = typer.Typer(add_completion=False, rich_markup_mode=None, help="Operators' policies (A1).")


def _files() -> Any:
    return argument("Policies, one JSON document a file.", metavar="FILE...")


def _as_json() -> Any:
    return option(False, "Print JSON.", "--json")


@dataclass(frozen=True, slots=True)
class ValidateOptions:
    """What `stackmac intent validate` is given."""

    files: tuple[Path, ...] = _files()


@command(intent_app, "validate", ValidateOptions)
def validate(options: ValidateOptions) -> int:
    """Check policies, ours and O-RAN's; one line for each mistake, and exit status 2."""
    wrong = 0
    for file in options.files:
        try:
            policy = _parsed(file)
            standard = policy if isinstance(policy, StandardPolicy) else None
            typer.echo(f"{file}: valid{f' ({standard.type_name})' if standard else ''}")
            for field in standard.unheeded if standard else ():
                typer.echo(f"  not applicable: {field.path}: {field.why}")
        except PolicyError as error:
            typer.echo("\n".join(f"{file}: {mistake}" for mistake in error.mistakes), err=True)
            wrong += 1
    return 2 if wrong else 0


@dataclass(frozen=True, slots=True)
class ShowOptions:
    """What `stackmac intent show` is given."""

    files: tuple[Path, ...] = _files()
    cell: str = option("", "<RAN name>/<NR-CGI>; default: the first that a policy names.")
    rbgs: int = option(17, "RBGs of the cell.", min=1, max=MAX_RBGS)
    ue: tuple[str, ...] = option(
        (), "A live UE and its class; default: those named, and one more of each class.", metavar="ID[:CLASS]"
    )
    config: Path | None = option(None, "An xApp descriptor, whose controls count.")
    url: str = option("", "A running xApp (http://HOST:PORT) that has these policies: what has come of them there.")
    token_file: Path | None = option(None, "File with the token that the xApp's HTTP server asks for.")
    as_json: bool = _as_json()


@command(intent_app, "show", ShowOptions)
def show(options: ShowOptions) -> int:
    """What policies come to in a cell: who has precedence, and each limit in RBGs. A file's name is the policy's id."""
    goes_with("--token-file", options.token_file, None, "--url", options.url)
    if options.cell and not re.fullmatch(CELL_FORM, options.cell):
        raise UserMistake(f"--cell is {options.cell!r}, expected RAN name/15 hex digits, small ones, or RAN name/node")
    policies = {file.stem: _read(file) for file in options.files}
    if len(policies) < len(options.files):
        raise UserMistake(
            f"{len(options.files)} files, but {counted(len(policies), 'name')}: each policy's id is its file's name"
        )
    controls = load_controls(options.config) if options.config is not None else Controls()
    a1 = controls.a1
    known = PolicySet(policies, a1.slices, controls.report_period_ms, a1.floor_window_periods, controls.nodes)
    cell = options.cell or suggested_cell(policies.values())
    ues = options.ue or suggested_ues(policies, a1.slices, cell)
    shown = compiled(known, cell_state(cell, options.rbgs, ues))
    if options.url:
        check_url("--url", options.url)
        running = running_policies(options.url, policies, options.token_file)
        for name, each in running.items():
            each["holds"] = what_holds(policies[name], each["reasons"], each["targets"])
        shown["measured"] = [target for each in running.values() for target in each.pop("targets")]
        shown["running"] = {name: running.get(name) for name in policies}
    typer.echo(json.dumps(shown, indent=2) if options.as_json else _for_reading(shown))
    return 0


@dataclass(frozen=True, slots=True)
class PutOptions:
    """What `stackmac intent put` is given."""

    file: Path = argument("The policy; with --delete only its name counts.")
    url: str = option(MEDIATOR_URL, "The A1 mediator.")
    instance: str = option("", "The policy's id; default: the file's name.", "--id")
    delete: bool = option(False, "Take the policy out of force.")
    type_id: int | None = option(
        None, "The policy type's id in this RIC; default: as in controls.a1, by the file's content.", min=1
    )
    wait_s: float = option(5.0, "Seconds to wait for the xApp's answer.", "--wait", min=0)
    token_file: Path | None = option(None, "File with a bearer token, where something before the mediator asks for it.")
    as_json: bool = _as_json()


@command(intent_app, "put", PutOptions)
def put(options: PutOptions) -> int:
    """Put a policy in force, or delete it; the policy type is made known to the mediator if it is not."""
    check_url("--url", options.url)
    name = options.instance or options.file.stem
    if not name:
        raise UserMistake(f"file is {str(options.file)!r}, expected a name, or --id: a policy's id is not empty")
    policy = None if options.delete else _read(options.file)
    token = token_of(options.token_file)
    types = _policy_types(options.url, token)
    type_name, type_id = _type(options)
    client = RestClient("A1 mediator", f"{types}/{type_id}", timeout_s=TIMEOUT_S, token=token)
    kind = make_standard_type(type_name, type_id) if type_name else make_policy_type()
    result = _delete(client, name) if policy is None else _put(client, name, policy, kind, options.wait_s)
    if policy is not None and result["ok"] and (ours := what_is_ours(policy)):
        result["ours"] = ours
    answer = "; ".join(str(result[key]) for key in ("result", "ours") if key in result)
    typer.echo(json.dumps(result) if options.as_json else f"{name}: {answer}")
    return 0 if result["ok"] else 1


def _policy_types(url: str, token: str) -> str:
    """The URL of the mediator's policy types, whichever mediator it is. Raises RestError."""
    for path in MEDIATOR_PATHS:
        types = f"{url.rstrip('/')}/{path}"
        if RestClient("A1 mediator", types, timeout_s=TIMEOUT_S, token=token).request("GET").status != 404:
            return types
    raise RestError(f"A1 mediator: there is neither {' nor '.join(f'/{path}' for path in MEDIATOR_PATHS)} at {url}")


def _type(options: PutOptions) -> tuple[str, int]:
    """Name ("" = our own) and id of the policy type: what the file is of, if there is one to look into."""
    name = type_of(options.file.read_bytes()) if options.file.is_file() else ""
    known = {each: type_id for type_id, each in type_names(A1Config()).items()}
    return name, options.type_id or known.get(name, POLICY_TYPE_ID)


def _put(client: RestClient, name: str, policy: Policy, kind: dict[str, Any], wait_s: float) -> dict[str, Any]:
    if client.request("GET").status == 404:
        _expect(client.request("PUT", body=kind).status, "the policy type")
    if isinstance(policy, StandardPolicy):
        document = policy.document
    else:
        document = policy.model_dump(mode="json", exclude_defaults=True)
    _expect(client.request("PUT", "policies", name, body=document).status, f"policy {name}")
    until_s = time.monotonic() + wait_s
    while True:
        answer = client.request("GET", "policies", name, "status")
        status = answer.json() if answer.status == 200 else {}
        if not isinstance(status, dict):
            status = {}
        in_effect = status.get("instance_status") == "IN EFFECT"
        if in_effect or time.monotonic() >= until_s:
            break
        time.sleep(POLL_S)
    result = "in effect" if in_effect else f"not in effect after {wait_s:g} s: no xApp has accepted it"
    return {"policy_instance_id": name, "ok": in_effect or not wait_s, "result": result, "status": status}


def _delete(client: RestClient, name: str) -> dict[str, Any]:
    status = client.request("DELETE", "policies", name).status
    if status != 404:
        _expect(status, f"policy {name}")
    result = "there is no such policy" if status == 404 else "deleted"
    return {"policy_instance_id": name, "ok": status != 404, "result": result}


def _expect(status: int, what: str) -> None:
    if not 200 <= status < 300:
        advice = "; --token-file FILE shows a token" if status == UNAUTHORIZED else ""
        raise RestError(f"A1 mediator refuses {what} with status {status}{advice}")


def compiled(policies: PolicySet, state: CellState) -> dict[str, Any]:
    """What `policies` come to in a cell, as JSON."""
    result = policies.compile(state)
    intent, limits = result.intent, compile_limits(state, result.intent)
    mine = {name: policy for name, policy in policies.policies.items() if name in result.order}
    not_enforced = unmet(policies, result, state)
    present = Presence(frozenset(state.ue_ids), result.empty_slices)
    for name, policy in policies.policies.items():
        absent = floors_of_nobody(policy, [present]) if name in mine else ()
        not_enforced += [(name, reason) for reason in (*absent, *reasons_not_ours(policy))]
    unheld = {name for name, _ in not_enforced}
    holds = {
        name: words
        for name, policy in mine.items()
        if (words := what_holds(policy, [reason for whose, reason in not_enforced if whose == name]))
    }
    slices = zip(limits.slice_names, limits.slice_floor_S.tolist(), limits.slice_cap_S.tolist())
    return {
        "cell": state.cell,
        "num_rbgs": state.num_rbgs,
        "precedence": list(result.order),
        "mode": intent.mode.value,
        "alpha": intent.alpha,
        "floor_window_periods": intent.floor_window_periods,
        "slices": [
            {
                "slice": name,
                "ue_ids": sorted(limit.ue_ids),
                "min_rbgs": least,
                "max_rbgs": min(most, state.num_rbgs) if most < NO_SLICE_CAP else state.num_rbgs,
                "policies": list(result.of_slice.get(name, ())),
            }
            for limit, (name, least, most) in zip(intent.slice_limits, slices)
        ],
        "ues": [
            {
                "ue_id": ue,
                "min_rbgs": int(limits.floor_U[row]),
                "max_rbgs": int(limits.cap_U[row]),
                "may_contend": bool(limits.open_allowed_U[row]),
                "policies": list(result.of_ue.get(ue, ())),
            }
            for row, ue in enumerate(state.ue_ids)
        ],
        "targets": [
            {name: value for name, value in row.items() if name in TARGET_FIELDS and value is not None}
            for row in target_rows(intent)
        ],
        "policies": {name: "NOT_ENFORCED" if name in unheld else "ENFORCED" for name in mine},
        "elsewhere": {name: whose_cells(p) for name, p in policies.policies.items() if name not in mine},
        "not_enforced": [{"policy": name, "reason": reason} for name, reason in not_enforced],
        "holds": holds,
    }


def _for_reading(shown: dict[str, Any]) -> str:
    window = shown["floor_window_periods"]
    over = "in every period" if window == 1 else f"over {window} periods"
    lines = [
        f"cell {shown['cell']}, {counted(shown['num_rbgs'], 'RBG')}",
        f"precedence: {' > '.join(shown['precedence']) or 'no policy is about this cell'}",
        f"mode {shown['mode']}, alpha {shown['alpha']:g}, floors hold {over}",
    ]
    for row in shown["slices"]:
        ues = ", ".join(map(str, row["ue_ids"]))
        lines.append(f"slice {row['slice']} (UEs {ues}): {_range(row)}, by {', '.join(row['policies'])}")
    for row in shown["ues"]:
        by = f", by {', '.join(row['policies'])}" if row["policies"] else ""
        contend = "" if row["may_contend"] else ", no contention"
        lines.append(f"UE {row['ue_id']}: {_range(row)}{contend}{by}")
    for row in shown["targets"]:
        lines.append(f"{row['of']}: {asked(row)}, by {row['policy']}{'' if 'measured' in shown else NOT_MEASURED}")
    lines += [f"{name}: {state}" for name, state in shown["policies"].items()]
    lines += [f"{name}: not about this cell, but about {cells}" for name, cells in shown["elsewhere"].items()]
    lines += [f"  {row['policy']}: {row['reason']}" for row in shown["not_enforced"]]
    lines += [f"  {name}: {words}" for name, words in shown["holds"].items()]
    return "\n".join(lines + _running_for_reading(shown) if "running" in shown else lines)


def _running_for_reading(shown: dict[str, Any]) -> list[str]:
    """What the running xApp says, which knows its own cells and UEs; all above was worked out for one as asked for."""
    lines = ["in the running xApp, whatever its cells and UEs:"]
    for name, found in shown["running"].items():
        lines.append(f"{name}: {found['enforcement'] if found else 'not in force there'}")
        lines += [f"  {name}: {reason}" for reason in (found["reasons"] if found else ())]
        lines += [f"  {name}: {found['holds']}"] if found and found["holds"] else []
    return lines + [f"{row['cell']}: {line(row)}" for row in shown["measured"]]


def _range(row: dict[str, Any]) -> str:
    return f"{row['min_rbgs']} to {row['max_rbgs']} RBGs"


def _read(file: Path) -> Policy:
    """Raises PolicyError naming the file."""
    try:
        return _parsed(file)
    except PolicyError as error:
        raise PolicyError(f"{file}: {error}") from None


def _parsed(file: Path) -> Policy:
    """Raises PolicyError."""
    try:
        text = file.read_bytes()
    except OSError as error:
        raise PolicyError(error.strerror or "it cannot be read") from None
    standard = type_of(text)
    return parse_standard(standard, text) if standard else parse_policy(text)
