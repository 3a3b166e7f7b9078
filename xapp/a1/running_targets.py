"""What has come of policies and their targets in a running xApp, asked over HTTP."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from policy.errors import RunFailed
from xapp.a1.api import POLICIES
from xapp.config.token_file import refused_token, token_of
from xapp.http.rest_client import RestClient

TIMEOUT_S = 5.0


class NoTargetsError(RunFailed):
    """One line for the user."""


def running_policies(url: str, policy_ids: Container[str], token_file: Path | None = None) -> dict[str, dict[str, Any]]:
    """{id: enforcement, reasons, targets}: those of these policies that are in force there, a target for each cell.

    token_file: holds what opens it. Raises RestError, NoTargetsError, UserMistake.
    """
    token = token_of(token_file)
    answer = RestClient("xApp", f"{url.rstrip('/')}{POLICIES}", timeout_s=TIMEOUT_S, token=token).request("GET")
    if refused := refused_token(answer.status, url, token_file):
        raise NoTargetsError(refused)
    if answer.status != 200:
        raise NoTargetsError(f"{url} answers GET {POLICIES} with status {answer.status}, expected 200")
    try:
        return {
            row["policy_instance_id"]: {
                "enforcement": row["enforcement"],
                "reasons": [str(reason) for reason in row["reasons"]],
                "targets": [dict(target) for target in row["targets"]],
            }
            for row in answer.json()
            if row["policy_instance_id"] in policy_ids
        }
    except (KeyError, TypeError, ValueError) as error:
        raise NoTargetsError(f"{url}{POLICIES} is no list of policies: {type(error).__name__}: {error}") from None
