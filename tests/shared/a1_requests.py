"""Requests of either A1 mediator, as messages of type 20010."""

from __future__ import annotations

import json
from typing import Any

from xapp.a1.policy_model import POLICY_TYPE_ID


def go_form(operation: str, name: str, policy: Any = None, type_id: Any = str(POLICY_TYPE_ID)) -> bytes:
    payload = "" if policy is None else policy if isinstance(policy, str) else json.dumps(policy)
    fields = {"operation": operation, "policy_type_id": type_id, "policy_instance_id": name, "payload": payload}
    return json.dumps(fields).encode()


def python_form(operation: str, name: str, policy: Any = None) -> bytes:
    fields = {"operation": operation, "policy_type_id": POLICY_TYPE_ID, "policy_instance_id": name}
    return json.dumps({**fields, "payload": policy if policy is not None else {}}).encode()
