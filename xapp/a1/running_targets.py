"""What has come of policies' targets in a running xApp, asked over HTTP."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from policy.errors import RunFailed
from xapp.a1.api import POLICIES
from xapp.ric.rest import RestClient

TIMEOUT_S = 5.0


class NoTargetsError(RunFailed):
    """One line for the user."""


def targets_of(url: str, policy_ids: Container[str], *, token: str = "") -> list[dict[str, Any]]:
    """A row for each target of these policies in each cell. Raises RestError or NoTargetsError."""
    answer = RestClient("xApp", f"{url.rstrip('/')}{POLICIES}", timeout_s=TIMEOUT_S, token=token).request("GET")
    if answer.status != 200:
        raise NoTargetsError(f"{url} answers GET {POLICIES} with status {answer.status}, expected 200")
    try:
        known = {row["policy_instance_id"]: row["targets"] for row in answer.json()}
        return [dict(target) for name, targets in known.items() if name in policy_ids for target in targets]
    except (KeyError, TypeError, ValueError) as error:
        raise NoTargetsError(f"{url}{POLICIES} is no list of policies: {type(error).__name__}: {error}") from None
