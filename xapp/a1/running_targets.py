"""What has come of policies and their targets in a running xApp, asked over HTTP."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from xapp.http.running_xapp import RunningXapp

POLICIES = "/ric/v1/policies"


def running_policies(url: str, policy_ids: Container[str], token_file: Path | None = None) -> dict[str, dict[str, Any]]:
    """{id: enforcement, reasons, targets}: those of these policies that are in force there, a target for each cell.

    token_file: holds what opens it. Raises NoAnswerError, UserMistake.
    """

    def read(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {
            row["policy_instance_id"]: {
                "enforcement": row["enforcement"],
                "reasons": [str(reason) for reason in row["reasons"]],
                "targets": [dict(target) for target in row["targets"]],
            }
            for row in rows
            if row["policy_instance_id"] in policy_ids
        }

    return RunningXapp(url, token_file).ask(POLICIES, read=read)
