"""The layouts of PRB quotas: what a node lists, what a message has, and what is written to whom."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from xapp.cli import main
from xapp.e2.asn1 import schema
from xapp.e2.asn1.errors import E2DecodeError, E2EncodeError
from xapp.e2.command import e2_app
from xapp.e2.dialect import Dialect
from xapp.e2.rc import messages as rc
from xapp.e2.rc import schema as rc_schema
from xapp.e2.rc.layout import Layout, listed_layout, message_layout
from xapp.e2.rc.prb_quota import PARAMETER_NAMES, PrbQuota, decode_prb_quotas, encode_prb_quotas
from xapp.e2.ue_id.ue_id import GnbDuUeId

QUOTA = PrbQuota(b"\x00\xf1\x10", 1, 5, 0, 50)
WRAPPED = tuple(PARAMETER_NAMES.items())
UNWRAPPED = tuple((number, name) for number, name in WRAPPED if number not in (2, 6))


def tree(data: bytes) -> dict:
    return schema.decode(rc_schema.CONTROL_MESSAGE[Dialect.STANDARD], data, "rc")


def shifted(parameters: tuple[tuple[int, str], ...]) -> tuple[tuple[int, str], ...]:
    """As forks count them: from 4 on without the gap."""
    return tuple((number - (number > 4), name) for number, name in parameters)


@pytest.mark.parametrize(
    ("parameters", "layout", "what"),
    [
        (WRAPPED, Layout.WRAPPED, "parameters 1-3, 5-13"),
        (WRAPPED[::-1], Layout.WRAPPED, "parameters 1-3, 5-13"),
        (UNWRAPPED, Layout.UNWRAPPED, "parameters 1, 3, 5, 7-13"),
        (tuple((number, name.upper()) for number, name in UNWRAPPED), Layout.UNWRAPPED, "parameters 1, 3, 5, 7-13"),
        (shifted(WRAPPED), None, "parameters 1-12 with RRM Policy Member List as 4 instead of 5"),
        (shifted(UNWRAPPED), None, "parameters 1, 3-4, 6-12 with RRM Policy Member List as 4 instead of 5"),
        (tuple((n, f"p{n}") for n in range(4, 13)), None, "parameters 4-12 (p4, ...)"),
        (tuple((n, f"p{n}") for n in range(1, 14)), None, "parameters 1-13 (p1, ...)"),
        (((1, "DRB ID"), (2, "List of QoS Flows to be modified in DRB")), None, "parameters 1-2 (DRB ID, ...)"),
        ((), None, "no parameters"),
    ],
)
def test_what_a_node_lists_is_one_of_the_two_layouts_or_none(
    parameters: tuple[tuple[int, str], ...], layout: Layout | None, what: str
) -> None:
    assert listed_layout(parameters) == (layout, what)


@given(st.permutations(WRAPPED), st.integers(0, len(WRAPPED)))
def test_a_list_that_lacks_something_is_none_of_them(parameters: list[tuple[int, str]], kept: int) -> None:
    some = parameters[:kept]
    layout = listed_layout(some).layout
    assert layout is {frozenset(WRAPPED): Layout.WRAPPED, frozenset(UNWRAPPED): Layout.UNWRAPPED}.get(frozenset(some))


@given(
    st.lists(
        st.builds(
            PrbQuota,
            st.binary(min_size=3, max_size=3),
            st.integers(0, 255),
            st.none() | st.integers(0, 2**24 - 1),
            *[st.integers(0, 100)] * 3,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_both_layouts_say_the_same_and_are_told_apart(quotas: list[PrbQuota]) -> None:
    for wrapped in (True, False):
        data = encode_prb_quotas(quotas, wrapped=wrapped)
        assert decode_prb_quotas(data) == tuple(quotas)
        for kind in rc_schema.CONTROL_MESSAGE.values():
            assert schema.encode(kind, schema.decode(kind, data, "rc"), "rc") == data
        assert message_layout(tree(data)).startswith("wrapped" if wrapped else "unwrapped")


def test_the_unwrapped_layout_has_no_parameters_2_and_6() -> None:
    ids = [each["ranParameter-ID"] for each in _nested(tree(encode_prb_quotas((QUOTA,), wrapped=False)))]
    assert ids == [1, 3, 5, 7, 8, 9, 10, 11, 12, 13]


def _nested(value: object) -> list[dict]:
    """RAN parameters in a decoded message, outermost first."""
    if isinstance(value, list):
        return [found for each in value for found in _nested(each)]
    if not isinstance(value, dict):
        return []
    inner = [found for each in value.values() for found in _nested(each)]
    return [value, *inner] if "ranParameter-ID" in value else inner


def test_a_control_is_written_in_the_layout_that_is_asked_for() -> None:
    for layout in Layout:
        control = rc.encode_prb_quota_control(GnbDuUeId(7), QUOTA, layout=layout)
        assert control.message == encode_prb_quotas((QUOTA,), wrapped=layout is Layout.WRAPPED)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("rc26-ids-4-to-12", "unwrapped, parameter ids 1, 3-4, 6-12, counted as 4 to 12"),
        ("srsran-468-old-ids", "unwrapped, parameter ids 1, 3, 5, 7-13; PLMN, SST and SD as text"),
    ],
)
def test_messages_of_forks_are_readable_and_said_to_be_none_of_ours(
    case: Callable[[str], bytes], name: str, form: str
) -> None:
    result = CliRunner().invoke(e2_app, ["decode", "rc-control-message", case(name).hex()])
    assert result.exit_code == 0
    assert result.output.startswith(f"layout: {form}")
    assert "never written here" in result.output.splitlines()[0]
    with pytest.raises(E2DecodeError):
        decode_prb_quotas(case(name))


def test_a_control_message_of_another_kind_has_no_layout() -> None:
    data = encode_prb_quotas((QUOTA,))
    other = tree(data)
    other["ric-controlMessage-formats"]["controlMessage-Format1"]["ranP-List"][0]["ranParameter-ID"] = 77
    assert message_layout(other) == ""
    result = CliRunner().invoke(e2_app, ["decode", "rc-control-message", data.hex(), "--json"])
    assert "layout" not in result.output, "what is printed to be encoded again is what was read"


def test_a_message_that_only_the_other_form_can_read_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["e2", "decode", "rc-control-header", "0080000102000005"]) == 1
    assert "it can be read with --dialect flexric" in capsys.readouterr().err


# -- call process ids -------------------------------------------------------------------------------------------------


@given(st.integers(1, rc.MAX_CALL_PROCESS_ID))
def test_call_process_ids_come_back(number: int) -> None:
    assert rc.decode_call_process_id(rc.encode_call_process_id(number)) == number


@pytest.mark.parametrize(
    ("number", "octets"), [(1, "0000"), (256, "00ff"), (257, "080100"), (2**24, "10ffffff"), (2**32 - 1, "18fffffffe")]
)
def test_a_call_process_id_is_a_constrained_integer_in_three_extensible_types(number: int, octets: str) -> None:
    assert rc.encode_call_process_id(number).hex() == octets


@pytest.mark.parametrize("number", [0, 2**32])
def test_a_call_process_id_out_of_range_is_refused(number: int) -> None:
    with pytest.raises(E2EncodeError, match=f"{number} is outside 1..4294967295"):
        rc.encode_call_process_id(number)
