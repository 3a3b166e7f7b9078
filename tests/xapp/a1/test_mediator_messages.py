"""What a mediator may send: a request, or one that cannot even be answered."""

from __future__ import annotations

import json

import pytest
from a1_requests import go_form
from hypothesis import given
from hypothesis import strategies as st

from xapp.a1.mediator_messages import BadRequest, PolicyRequest, decode_request

CALM = {"objective": {"alpha": 2.0}}


@given(
    st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(lambda x: json.dumps(x).encode())
)
def test_any_bytes_are_a_request_or_a_bad_one(payload: bytes) -> None:
    try:
        assert isinstance(decode_request(payload), PolicyRequest)
    except BadRequest as error:
        assert "\n" not in str(error)


def test_c_strings_come_with_their_nul() -> None:
    assert decode_request(go_form("CREATE", "p", CALM) + b"\0").instance_id == "p"


@pytest.mark.parametrize("name", ["half \ud800 a pair", "a\nb", "a\x00b"])
def test_a_name_that_can_be_kept_nowhere_is_refused(name: str) -> None:
    with pytest.raises(BadRequest):
        decode_request(go_form("CREATE", name, CALM))
