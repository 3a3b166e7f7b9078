"""What of a policy of the standard's is ours, in words: such a policy is NOT_ENFORCED for a field that nobody here acts
on, however well the rest of it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from xapp.a1.cell_policies import MAX_REASONS
from xapp.a1.policy_model import Policy
from xapp.a1.standard_types import STATEMENTS, StandardPolicy


def fields_of_ours(policy: StandardPolicy) -> tuple[str, ...]:
    """Names of the objectives that are acted on or tracked."""
    others = {field.path for field in policy.unheeded}
    found = ((statement, policy.document.get(statement, {})) for statement in STATEMENTS)
    names = (f"{statement}.{name.strip()}" for statement, objectives in found for name in objectives)
    return tuple(path.partition(".")[2] for path in names if path not in others)


def reasons_not_ours(policy: Policy) -> list[str]:
    """Why each field that is not ours keeps the policy from ENFORCED, as its status has it."""
    return [f"{field.path}: {field.why}" for field in policy.unheeded] if isinstance(policy, StandardPolicy) else []


def what_holds(policy: Policy, reasons: Iterable[str], targets: Sequence[Mapping[str, Any]] | None = None) -> str:
    """What holds of a policy that is NOT_ENFORCED for what is not ours alone; "" where anything else is wrong, too.

    reasons: all that keep it from ENFORCED. targets: what has come of it where it was measured; None = nobody did.
    """
    reasons, others = list(reasons), reasons_not_ours(policy)
    if (
        not isinstance(policy, StandardPolicy)
        or not others
        or len(reasons) >= MAX_REASONS
        or set(reasons) - set(others)
    ):
        return ""
    ours = fields_of_ours(policy)
    if not ours or any(field.is_scope for field in policy.unheeded):
        return ""
    states = "in force" if targets is None else ", ".join(sorted({row["state"] for row in targets})) or "in force"
    fields = ", ".join(field.path.rpartition(".")[2] for field in policy.unheeded)
    return f"{' and '.join(ours)}: {states}; NOT_ENFORCED is for what is not ours alone ({fields})"


def main_reason(policy: Policy, reasons: Sequence[str], targets: Sequence[Mapping[str, Any]]) -> str:
    """Of all that keep a policy from ENFORCED the one to tell first: of what is ours, or that all of that holds."""
    others = set(reasons_not_ours(policy))
    ours = next((reason for reason in reasons if reason not in others), "")
    return ours or what_holds(policy, reasons, targets) or next(iter(reasons), "")


def what_is_ours(policy: Policy) -> str:
    """What will come of a policy of the standard's; "" for one of our own, and where all of it is ours."""
    others = reasons_not_ours(policy)
    if not isinstance(policy, StandardPolicy) or not others:
        return ""
    ours = " and ".join(fields_of_ours(policy)) or "none of its objectives"
    return f"ours is {ours}; not ours: {'; '.join(others)}, and so its enforcement stays NOT_ENFORCED"
