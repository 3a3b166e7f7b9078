"""The mediator's messages: a policy request (20010) decoded, its answer (20011) encoded.

Two mediators are about: the Go one sends the type id as a string and the policy as a string of JSON, the older Python
one a number and an object. Both insist on an answer that has all four fields and a number for the type.
"""

from __future__ import annotations

import json
from enum import StrEnum
from typing import NamedTuple

from policy.errors import DecodeError
from xapp.a1.repeated_keys import repeated_keys

MAX_PAYLOAD_BYTES = 128 * 1024
MAX_INSTANCE_ID = 256
"""Characters."""


class Answer(StrEnum):
    """What a mediator may be told of a request."""

    OK = "OK"
    ERROR = "ERROR"
    DELETED = "DELETED"


class BadRequest(DecodeError):
    """A request that cannot even be answered."""


class PolicyRequest(NamedTuple):
    """A 20010, decoded."""

    operation: str
    """CREATE, UPDATE or DELETE."""
    type_id: int
    instance_id: str
    payload: str
    """The policy's JSON; empty on DELETE."""
    repeated: tuple[str, ...] = ()
    """What is wrong with the keys of the request, the policy's among them where it is no text (repeated_keys)."""


def decode_request(payload: bytes) -> PolicyRequest:
    """Either mediator's form. Raises BadRequest."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise BadRequest(f"{len(payload)} bytes, expected at most {MAX_PAYLOAD_BYTES}")
    try:
        # C strings come with their NUL.
        document = json.loads(payload.rstrip(b"\0").decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"not JSON: {error}") from None
    if not isinstance(document, dict):
        raise BadRequest(f"a {type(document).__name__}, expected an object")
    operation, type_id = document.get("operation"), document.get("policy_type_id")
    instance_id, policy = document.get("policy_instance_id"), document.get("payload", "")
    if operation not in ("CREATE", "UPDATE", "DELETE"):
        raise BadRequest(f"operation is {operation!r:.40}, expected CREATE, UPDATE or DELETE")
    if not isinstance(instance_id, str) or not 0 < len(instance_id) <= MAX_INSTANCE_ID:
        raise BadRequest(f"policy_instance_id is {instance_id!r:.40}, expected 1 to {MAX_INSTANCE_ID} characters")
    if not instance_id.isprintable():  # half a surrogate can be kept nowhere, and a new line forges one in a log
        raise BadRequest(f"policy_instance_id is {instance_id!r:.40}, expected characters that can be printed")
    if isinstance(type_id, str) and type_id.isascii() and type_id.isdigit():
        type_id = int(type_id[:19])
    if not isinstance(type_id, int) or isinstance(type_id, bool):
        raise BadRequest(f"policy_type_id is {type_id!r:.40}, expected a number")
    text = policy if isinstance(policy, str) else json.dumps(policy)
    return PolicyRequest(operation, type_id, instance_id, text, repeated_keys(payload.rstrip(b"\0")))


def encode_answer(request: PolicyRequest, handler_id: str, answer: Answer) -> bytes:
    """Encode message 20011, the answer to a policy request."""
    fields = {
        "policy_type_id": request.type_id,
        "policy_instance_id": request.instance_id,
        "handler_id": handler_id,
        "status": str(answer),
    }
    return json.dumps(fields).encode()
