"""Judgements: each check looks at the facts and says what it found. Pure.

Their order is the order in which things depend on each other: the first fault is usually the cause of the later ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from policy.errors import counted
from xapp.doctor.facts import NOT_ASKED, NOT_WANTED, Answer, Facts
from xapp.doctor.faults import FAULTS
from xapp.doctor.finding import Finding, State
from xapp.leader.reasons import BREAKER_OPEN, ERRORS, GIVEN_UP, OVERDUE
from xapp.nodes.subscription_plan import WHOLE_NODE

Status = Mapping[str, Any]

LATE_SHARE = 0.01
"""Of the decisions between the two looks: more, and the model counts as too slow."""
REFUSED_SHARE = 0.01
"""Of the controls: a UE that leaves while a control is under way is refused now and then."""
MENDED = (
    "measurements_refused",
    "slice_baseline_unknown",
    "slices_both_directions",
    "slices_not_reported",
    "ues_in_several_cells",
)
"""What a node lacks, or does, and the xApp works without, or around: to be known, not to be hurried about."""
NO_ANSWER = "no answer"


def examine(facts: Facts) -> list[Finding]:
    """Everything that can be said, in order."""
    return [finding for check in CHECKS for finding in _examined(check, facts)]


def _examined(check: Callable[[Facts], Iterator[Finding]], facts: Facts) -> list[Finding]:
    """One check's findings: an answer of another shape (another release, or no xApp at all) must not end the others."""
    try:
        return list(check(facts))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [unknown(check.__name__, f"an answer of another shape than expected: {type(error).__name__}: {error}")]


def ok(check: str, found: str) -> Finding:
    return Finding(check, State.OK, found)


def fault(check: str, name: str, found: str, *, state: State = State.FAULT) -> Finding:
    return Finding(check, state, found, name, FAULTS[name])


def unknown(check: str, reason: str) -> Finding:
    return Finding(check, State.UNKNOWN, reason)


# -- the xApp itself ---------------------------------------------------------------------------------------------------


def configuration(facts: Facts) -> Iterator[Finding]:
    if facts.controls.there:
        yield ok("configuration", "valid")
    else:
        name = "config_unusable" if facts.has_descriptor else "config_missing"
        yield fault("configuration", name, facts.controls.error)


def xapp(facts: Facts) -> Iterator[Finding]:
    if not facts.controls.there and not facts.after.there:
        yield unknown("xapp", "not asked without a configuration")
    elif not facts.after.there:
        yield fault("xapp", "xapp_unreachable", facts.after.error)
    elif (role := _status(facts).get("instance", {}).get("role", "control")) != "control":
        others = counted(_status(facts)["instance"].get("others", 0), "other instance is", "other instances are")
        found = f"{others} alive; this one's role is {role}"
        yield fault("xapp", "yielded", found, state=State.WARNING)
    else:
        yield ok("xapp", f"answers at {facts.url}, leader {_status(facts).get('leader', '?')}")


def routes(facts: Facts) -> Iterator[Finding]:
    loaded = _status(facts).get("routes_loaded")
    lost = _dropped(facts)["control_not_sent"]
    if loaded is None:
        yield unknown("routes", NO_ANSWER)
    elif not loaded:
        where = facts.environment.get("RMR_SEED_RT") or "RMR_SEED_RT is not set"
        yield fault("routes", "no_route_table", f"no route table ({where})")
    elif lost:
        yield fault(
            "routes", "no_control_route", f"{counted(lost, 'control')} within {facts.seconds:.1f} s could not be sent"
        )
    else:
        yield ok("routes", "a table is loaded")


# -- the platform ------------------------------------------------------------------------------------------------------


def shared_data(facts: Facts) -> Iterator[Finding]:
    if not facts.controls.there:
        yield unknown("sdl", "not asked without a configuration")
    elif not facts.shared.there:
        yield fault("sdl", "sdl_down", facts.shared.error)
    elif _status(facts).get("sdl_healthy") is False:
        yield fault("sdl", "sdl_down", "it answers here, but not the xApp")
    elif not facts.shared.value:
        yield fault("sdl", "sdl_in_memory", "shared data are kept in this process only", state=State.WARNING)
    else:
        yield ok("sdl", "a value written comes back")


def submgr(facts: Facts) -> Iterator[Finding]:
    yield _reached(
        "submgr", "submgr_unreachable", facts.submgr, lambda held: f"{counted(len(held), 'subscription')} in all"
    )


def e2mgr(facts: Facts) -> Iterator[Finding]:
    yield _reached("e2mgr", "e2mgr_unreachable", facts.e2mgr, lambda names: counted(len(names), "node"))


def appmgr(facts: Facts) -> Iterator[Finding]:
    status = _status(facts)
    if facts.appmgr.error == NOT_WANTED:
        yield ok("appmgr", NOT_WANTED)
        return
    if not facts.appmgr.there:
        yield _reached("appmgr", "appmgr_unreachable", facts.appmgr, lambda names: "")
        return
    name = status.get("name")
    if name is None:
        yield unknown("appmgr", NO_ANSWER)
    elif name not in (facts.appmgr.value or []):
        yield fault("appmgr", "not_registered", f"{name} is not among {', '.join(facts.appmgr.value or []) or 'none'}")
    else:
        yield ok("appmgr", f"{name} is registered")


def _reached(check: str, name: str, answer: Answer[Any], on_progress: Callable[[Any], str]) -> Finding:
    if answer.error == NOT_ASKED:
        return unknown(check, "not asked without a configuration")
    return ok(check, on_progress(answer.value)) if answer.there else fault(check, name, answer.error)


# -- nodes, subscriptions, reports -------------------------------------------------------------------------------------


def nodes(facts: Facts) -> Iterator[Finding]:
    known = _status(facts).get("nodes")
    if known is None:
        yield unknown("nodes", NO_ANSWER)
        return
    if not known:
        yield fault("nodes", "no_nodes", "the xApp sees no E2 node")
    for name, connected in known.items():
        if connected:
            yield ok("nodes", f"{name} is connected")
        else:
            # One of many may have been taken out of service; without any there is nothing to do.
            state = State.WARNING if any(known.values()) else State.FAULT
            yield fault("nodes", "node_disconnected", f"{name} is disconnected", state=state)
    # Under only_listed_nodes it may be that nobody is there who is ours.
    state = State.WARNING if _status(facts).get("node_problems") else State.FAULT
    for entry in _status(facts).get("node_entries_unmatched", ()):
        found = f"controls.nodes: {entry!r} fits none of {', '.join(known)}"
        yield fault("nodes", "node_entry_unmatched", found, state=state)


def functions(facts: Facts) -> Iterator[Finding]:
    problems = _status(facts).get("node_problems")
    if problems is None:
        yield unknown("functions", NO_ANSWER)
        return
    roles = _status(facts).get("node_roles", {})
    for name, lines in problems.items():
        for line in lines:
            state = State.WARNING if line["fault"] in MENDED else State.FAULT
            yield fault("functions", line["fault"], line["text"], state=state)
        if not lines:
            found = f"{name} is {roles[name]}" if name in roles else f"{name} offers what is needed"
            yield ok("functions", f"{found}{_form(facts, name)}")


def _form(facts: Facts, node: str) -> str:
    dialect = _status(facts).get("node_dialects", {}).get(node)
    return "" if dialect is None else f", writes E2SM in its {dialect} form" if dialect else ", has not reported yet"


def subscriptions(facts: Facts) -> Iterator[Finding]:
    status = _status(facts)
    states = status.get("subscriptions")
    if states is None:
        yield unknown("subscriptions", NO_ANSWER)
        return
    if not states:
        yield unknown("subscriptions", "none is wanted")
    errors = status.get("subscription_errors", {})
    for key, state in states.items():
        if state == "active":
            yield ok("subscriptions", f"{key} is active")
        elif error := errors.get(key):
            yield fault("subscriptions", "subscription_failed", f"{key}: {error}")
        else:
            yield fault("subscriptions", "subscription_pending", f"{key} is {state}")
    yield from _doubles(facts, states)


def _doubles(facts: Facts, states: Mapping[str, str]) -> Iterator[Finding]:
    """submgr lists node and endpoint, not function or cell: more of ours than we want of a node are too many."""
    endpoint = _status(facts).get("rmr_endpoint")
    if not facts.submgr.there or not endpoint:
        return
    ours = [entry for entry in facts.submgr.value or [] if endpoint in (entry.get("ClientEndpoint") or [])]
    held = Counter(str(entry.get("Meid")) for entry in ours)
    wanted = Counter(key.split("/")[0] for key in states)
    for node, count in held.items():
        if count > wanted[node]:
            found = f"submgr holds {counted(count, 'subscription')} of {node} for {endpoint}, wanted are {wanted[node]}"
            yield fault("subscriptions", "subscription_double", found)


def indications(facts: Facts) -> Iterator[Finding]:
    status = _status(facts)
    if "active" not in status.get("subscriptions", {}).values():
        yield unknown("indications", "no subscription is active")
        return
    silent = status.get("silent_cells", {})
    came, broken = _grown(facts, "indications_received"), _grown(facts, "decode_errors")
    if broken:
        yield fault("indications", "undecodable_indications", f"{broken} of {came} within {facts.seconds:.1f} s")
    elif not came and not any(cell["evidence"] for cell in silent.values()) and _nobody_reported(status):
        yield ok("indications", f"none within {facts.seconds:.1f} s")
    elif not came:
        yield fault("indications", "no_indications", f"none within {facts.seconds:.1f} s")
    else:
        yield ok("indications", f"{came} within {facts.seconds:.1f} s, all readable")
    for name, cell in silent.items():
        if not cell["evidence"]:
            yield ok("indications", f"{name}: {cell['text']}")
        elif came:
            found = f"{name}: none for {cell['silent_s']:.0f} s, and {cell['evidence']}"
            yield fault("indications", "no_indications", found)


def _nobody_reported(status: Status) -> bool:
    """Every active subscription is one that says nothing where nobody is."""
    active = [key.split("/") for key, state in status["subscriptions"].items() if state == "active"]
    silent = status.get("silent_cells", {})
    return all(f"{node}/{cell or WHOLE_NODE}" in silent for node, _, cell in active)


def reports(facts: Facts) -> Iterator[Finding]:
    """What can be read and is less than it seems."""
    for lines in _status(facts).get("report_problems", {}).values():
        for line in lines:
            yield fault("reports", line["fault"], line["text"], state=State.WARNING)


# -- decisions and controls --------------------------------------------------------------------------------------------


def controls(facts: Facts) -> Iterator[Finding]:
    sent = _grown(facts, "controls_sent")
    if not sent:
        yield unknown("controls", "none was sent meanwhile")
        return
    acked, failed, lost = (_grown(facts, f"controls_{what}") for what in ("acked", "failed", "unanswered"))
    if failed > REFUSED_SHARE * sent:
        causes = _causes(facts)
        yield fault("controls", "controls_refused", f"{failed} of {sent} refused: {causes}")
    elif lost > REFUSED_SHARE * sent or not acked:
        yield fault("controls", "controls_unanswered", f"{acked} of {sent} acknowledged")
    else:
        yield ok("controls", f"{sent} sent, {acked} acknowledged")
    yield from _effects(facts)


def _causes(facts: Facts) -> str:
    return ", ".join(f"{name} {count}" for name, count in _dropped(facts).items() if name.startswith("control_failed"))


def _effects(facts: Facts) -> Iterator[Finding]:
    """A control takes a period or two to show: only what both looks say counts as a fault."""
    before = (facts.before.value or {}).get("effects", {})
    for cell, (effective, text) in _status(facts).get("effects", {}).items():
        if effective:
            yield ok("controls", f"{cell}: {text}")
        elif effective is False and before.get(cell, [None])[0] is False:
            yield fault("controls", "controls_ineffective", f"{cell}: {text}")


def model(facts: Facts) -> Iterator[Finding]:
    status = _status(facts)
    if facts.leader_error:
        yield fault("model", "model_missing", facts.leader_error)
        return
    decided = _grown(facts, "decisions")
    if not decided:
        yield unknown("model", "nothing was decided meanwhile")
        return
    reasons = _fallbacks(facts)
    late = sum(count for reason, count in reasons.items() if reason in OVERDUE)
    errors = sum(count for reason, count in reasons.items() if reason in (*ERRORS, GIVEN_UP, BREAKER_OPEN))
    p99 = (status.get("decision_ms") or {}).get("p99")
    deadline = status.get("deadline_ms")
    if errors:
        yield fault("model", "model_failing", f"{errors} of {decided} decisions: the model failed")
    elif late > LATE_SHARE * decided:
        yield fault("model", "model_slow", f"{late} of {decided} decisions missed the deadline of {deadline} ms")
    else:
        yield ok("model", f"{counted(decided, 'decision')}, p99 {p99} ms of {deadline} ms")


def kpi_guard(facts: Facts) -> Iterator[Finding]:
    guard = _status(facts).get("kpi_guard")
    if guard is None:
        yield unknown("kpi guard", NO_ANSWER)
    elif guard["reverted_cells"]:
        alarms = [alarm for alarm in _status(facts).get("alarms", []) if alarm["problem"] == "leader_harmful"]
        named = "; ".join(f"{alarm['what']}: {alarm['more']}" for alarm in alarms) or f"by {guard['rule']}"
        yield fault("kpi guard", "leader_reverted", f"{counted(guard['reverted_cells'], 'cell')} reverted: {named}")
    else:
        not_judged = guard.get("not_judged_cells", 0)
        apart = f"cells not judged as the leader does not act there: {not_judged}"
        if not_judged and not guard["guarded_cells"]:
            yield ok("kpi guard", apart)
        else:
            judged = f"no cell reverted, {100 * guard['hold_out_share']:.1f} % of the time in hold-outs"
            yield ok("kpi guard", f"{judged}; {apart}" if not_judged else judged)


def _fallbacks(facts: Facts) -> Counter[str]:
    """Reasons of fallback decisions between the two looks."""
    grown = _tally(facts, "decided_by")
    return Counter({who.removeprefix("fallback:"): n for who, n in grown.items() if who.startswith("fallback:")})


def policies(facts: Facts) -> Iterator[Finding]:
    for policy in facts.policies.value or []:
        name, reasons = policy.get("policy_instance_id", "?"), "; ".join(policy.get("reasons", []))
        if policy.get("enforcement") == "ENFORCED":
            yield ok("policies", f"{name} is enforced")
        elif holds := policy.get("holds"):
            yield ok("policies", f"{name}: {holds}")
        else:
            yield fault("policies", "policy_not_enforced", f"{name}: {reasons}", state=State.WARNING)


def _status(facts: Facts) -> Status:
    return facts.after.value or {}


def _dropped(facts: Facts) -> Counter[str]:
    return _tally(facts, "dropped")


def _tally(facts: Facts, name: str) -> Counter[str]:
    """What a set of counters grew by between the two looks."""
    before, after = (Counter((answer.value or {}).get(name, {})) for answer in (facts.before, facts.after))
    return after - before if all(after[key] >= count for key, count in before.items()) else after


def _grown(facts: Facts, counter: str) -> int:
    """How much a counter grew between the two looks; a restart in between counts from 0."""
    before, after = (answer.value or {} for answer in (facts.before, facts.after))
    now = int(after.get(counter, 0))
    then = int(before.get(counter, 0))
    return now - then if now >= then else now


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    configuration,
    xapp,
    routes,
    shared_data,
    submgr,
    e2mgr,
    appmgr,
    nodes,
    functions,
    subscriptions,
    indications,
    reports,
    controls,
    model,
    kpi_guard,
    policies,
)
