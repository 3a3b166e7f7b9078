"""Quotas in the form in which a node wants them."""

from __future__ import annotations

from typing import Any

import pytest
from controlling import FUNCTION_ID, INSTANCE, Controlling, shares

from xapp.e2.asn1.errors import E2DecodeError
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.rc import messages as rc
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.ric.sdl import SharedStore


def test_a_node_that_lists_no_call_process_ids_gets_none_and_one_control_at_a_time(
    node: Any, store: SharedStore
) -> None:
    rig = Controlling(node, store, form=rc.QuotaForm(rc.Layout.UNWRAPPED))
    rig.decide(shares(4, 3))
    first, _, quota = rig.next_quota()
    assert first.call_process_id is None
    assert first.message == rc.encode_prb_quotas((quota,), wrapped=False)
    assert rig.silence()
    elsewhere = e2ap.ControlAcknowledge(e2ap.RicRequestId(123, INSTANCE + 1), FUNCTION_ID)
    rig.sender.on_acknowledge(elsewhere, rig.node.name)
    assert rig.metrics["answers_unmatched"] == 1, "the answer to another's control"
    rig.acknowledge(first)
    second = rig.next_quota()[0]
    rig.acknowledge(second)
    assert rig.encoder.explain(rig.node.cell) == {"quotas": {1: 40, 2: 30}}


def test_call_process_ids_are_the_service_models_and_each_its_own(rig: Controlling) -> None:
    rig.decide(shares(4, 3))
    first = rig.next_quota()[0]
    rig.acknowledge(first)
    calls = [first.call_process_id, rig.next_quota()[0].call_process_id]
    numbers = [rc.decode_call_process_id(call) for call in calls if call is not None]
    assert len({*numbers}) == 2


def test_nothing_is_sent_to_a_node_before_its_reports_have_told_how_it_writes(node: Any, store: SharedStore) -> None:
    rig = Controlling(node, store)
    rig.encoder.use_dialect(None)
    rig.decide(shares(4))
    assert rig.silence()
    assert rig.encoder.waiting == 1
    rig.encoder.use_dialect(Dialect.FLEXRIC)
    rig.sender.pump()
    request = rig.receive()
    assert request is not None
    assert rc.decode_control_header(request.header, Dialect.FLEXRIC).ue_id == GnbDuUeId(1)
    with pytest.raises(E2DecodeError):
        rc.decode_control_header(request.header)
