"""Bytes that were valid once, damaged: every reader of service models reads them or fails with the one error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutating import mutations

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.kpm import messages as kpm
from xapp.e2.kpm.json_types import KPM_TYPES
from xapp.e2.rc import messages as rc
from xapp.e2.rc.json_types import RC_TYPES

TYPES = KPM_TYPES | RC_TYPES
TYPED: dict[str, Callable[[bytes, Dialect], Any]] = {
    "kpm-event-trigger": lambda data, _: kpm.decode_event_trigger(data),
    "kpm-action-definition": kpm.decode_action_definition,
    "kpm-indication-header": lambda data, _: kpm.decode_indication_header(data),
    "kpm-indication-message": lambda data, dialect: kpm.decode_report(data, ("a", "b"), dialect),
    "kpm-ran-function": lambda data, _: kpm.decode_ran_function(data),
    "rc-call-process-id": lambda data, _: rc.decode_call_process_id(data),
    "rc-control-header": rc.decode_control_header,
    "rc-control-message": rc.decode_prb_quotas,
    "rc-ran-function": lambda data, _: rc.decode_ran_function(data),
}
"""What the loop reads them with."""
UNREAD = {"rc-control-outcome"}
"""What no part of the loop reads."""


@pytest.mark.parametrize("dialect", Dialect)
@pytest.mark.parametrize("name", TYPES)
def test_damaged_messages_are_read_or_refused(name: str, dialect: Dialect, values_of: Any) -> None:
    codec = TYPES[name]

    @given(st.data())
    @settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    def check(data: st.DataObject) -> None:
        intact = codec.encode(data.draw(values_of(codec.kinds[dialect])), dialect)
        for octets in (intact, data.draw(mutations(intact))):
            for read in (codec.decode, TYPED.get(name, codec.decode)):
                try:
                    read(octets, dialect)
                except E2DecodeError as error:
                    assert error.args and "\n" not in str(error)

    check()


def test_every_type_that_the_loop_reads_has_a_reader() -> None:
    assert TYPES.keys() - TYPED.keys() == UNREAD
