"""The compact prompt: numbers in, tokens of a closed vocabulary out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.cell_state import COLUMNS, TrafficClass, make_cell_state
from policy.intent import Intent
from policy.prompt.compact import CELL_FIELDS, UE_FIELDS, Field, PromptLayout
from policy.schedulers.estimate import estimate
from policy.schedulers.periodic_grants import wanted_grants

LAYOUT = PromptLayout()


def test_a_prompt_is_one_block_per_cell_and_one_per_ue(make_random_state):
    rng = np.random.default_rng(1)
    states = [make_random_state(rng, ues=u) for u in (3, 0, 5)]
    prompts = LAYOUT.encode(states, [Intent()] * 3)
    assert prompts.tokens_NT.shape == (3 + 8, LAYOUT.block_tokens)
    assert prompts.cell_N.tolist() == [0] * 4 + [1] + [2] * 6
    assert prompts.place_N.tolist() == [0, 1, 2, 3, 0, 0, 1, 2, 3, 4, 5]
    assert prompts.num_ues_B.tolist() == [3, 0, 5]


def test_a_batch_reads_like_its_cells_one_by_one(make_random_state):
    rng = np.random.default_rng(2)
    states = [make_random_state(rng, missing=0.3) for _ in range(20)]
    intents = [Intent(alpha=float(a)) for a in rng.uniform(0, 10, 20)]
    batch = LAYOUT.encode(states, intents).tokens_NT
    alone = [LAYOUT.encode([s], [i]).tokens_NT for s, i in zip(states, intents)]
    assert np.array_equal(batch, np.concatenate(alone))


@pytest.mark.parametrize("layout", [LAYOUT, PromptLayout.with_grants()])
@given(data=st.data())
def test_any_number_in_any_column_is_a_token_of_its_own_field(layout, data):
    values = {name: data.draw(st.lists(st.floats(), min_size=2, max_size=2)) for name in COLUMNS}
    state = make_cell_state("c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1, 2), **values)
    assert_of_their_fields(layout, layout.encode([state], [Intent()]).tokens_NT)


def assert_of_their_fields(layout, tokens):
    cell_fields, ue_fields, width = layout.cell_fields, layout.ue_fields, layout.block_tokens
    first = np.cumsum([0] + [f.size for f in (*cell_fields, *ue_fields)])
    for blocks, starts, fields in ((tokens[:1], first[:width], cell_fields), (tokens[1:], first[width:-1], ue_fields)):
        level = blocks - starts
        assert (level >= 0).all()
        assert (level < [f.size for f in fields]).all()


@pytest.mark.parametrize("layout", [LAYOUT, PromptLayout.with_grants()])
@pytest.mark.parametrize("buffer", [9e307, -9e307, 1.7e308, np.inf])
@pytest.mark.parametrize("other", [9e307, -9e307, -1.7e308, np.inf, -np.inf])
def test_numbers_whose_sums_overflow_are_the_outermost_levels(layout, buffer, other):
    columns = {name: [other, other] for name in COLUMNS} | {"buffer_bits_U": [buffer, buffer]}
    state = make_cell_state("c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1, 2), **columns)
    assert_of_their_fields(layout, layout.encode([state], [Intent()]).tokens_NT)


def test_what_is_not_reported_has_a_token_that_no_number_has():
    def block(**columns):
        state = make_cell_state("c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1,), **columns)
        return LAYOUT.encode([state], [Intent()]).tokens_NT[1]

    names = [f.name for f in UE_FIELDS]
    cqi = names.index("cqi")
    unknown = block()[cqi]
    known = [block(cqi_U=[c])[cqi] for c in range(16)]
    assert len(set(known)) == 16
    assert unknown not in known


def test_a_period_without_a_phase_is_not_known(make_random_state):
    names = [f.name for f in UE_FIELDS]

    def token(**columns):
        state = make_cell_state("c", num_rbgs=6, slots_per_dcm=1, slot=0, ue_ids=(1,), **columns)
        return LAYOUT.encode([state], [Intent()]).tokens_NT[1, names.index("arrival_period_slots")]

    assert token(arrival_period_slots_U=[12]) == token()
    assert token(arrival_period_slots_U=[12], arrival_phase_slots_U=[3]) != token()


def test_the_intent_and_the_pace_are_in_the_prompt(make_random_state):
    state = make_random_state(np.random.default_rng(3), ues=4, missing=0.0)
    plain = LAYOUT.encode([state], [Intent()]).tokens_NT
    even = LAYOUT.encode([state], [Intent(alpha=4.0)]).tokens_NT
    assert (plain != even).sum() == 1
    slow = make_random_state(np.random.default_rng(3), ues=4, missing=0.0, slots_per_dcm=100)
    assert (LAYOUT.encode([slow], [Intent()]).tokens_NT != plain).sum() == 1


def test_a_layout_survives_json():
    document = json.loads(json.dumps(LAYOUT.as_json()))
    assert PromptLayout.from_json(document) == LAYOUT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version is 99, expected 1 or 2"),
        ({"ue_fields": [["cqi", [1.0]]]}, "expected equal"),
    ],
)
def test_an_unknown_layout_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        PromptLayout.from_json(LAYOUT.as_json() | change)


def test_unknown_fields_and_edges_out_of_order_are_refused():
    with pytest.raises(ValueError, match="unknown prompt fields"):
        PromptLayout((Field("mood", (1.0,)),), (CELL_FIELDS[0],))
    with pytest.raises(ValueError, match="do not ascend"):
        PromptLayout((Field("cqi", (2.0, 1.0)),), (CELL_FIELDS[0],))


def test_a_leader_that_gives_grants_is_told_whom_they_save_in_which_order_and_what_is_owed():
    kinds = [TrafficClass.PERIODIC, TrafficClass.EMBB, TrafficClass.PERIODIC, TrafficClass.SPORADIC]
    state = make_cell_state(
        "c", num_rbgs=6, slots_per_dcm=20, slot=0, ue_ids=(1, 2, 3, 4), traffic_class_U=kinds,
        arrival_period_slots_U=[10.0, np.nan, 20.0, np.nan], arrival_phase_slots_U=[3.0, np.nan, 4.0, np.nan],
        deadline_slots_U=[8.0] * 4, age_slots_U=[8.0] * 4, packet_bits_U=[1000.0] * 4, cqi_U=[7.0, 9.0, 13.0, 9.0],
    )  # fmt: skip
    intent = Intent(min_share_percent={4: 30.0})
    layout = PromptLayout.with_grants()
    tokens = layout.encode([state], [intent]).tokens_NT
    known = estimate(state)
    far, near = wanted_grants(state, known)
    assert near.rbgs < far.rbgs
    starts = np.cumsum([0] + [f.size for f in (*layout.cell_fields, *layout.ue_fields)])[layout.block_tokens :]
    level = {f.name: tokens[1:, k] - starts[k] for k, f in enumerate(layout.ue_fields)}
    assert level["packet_rbgs"].tolist() == [far.rbgs, 0, near.rbgs, 0]  # level k is k RBGs; 0 = no grant is wanted
    assert level["grant_turn"].tolist() == [far.rbgs + near.rbgs, 0, near.rbgs, 0]
    assert level["grant_row"].tolist() == [1, 0, 2, 0]
    assert level["floor_rbgs"].tolist() == [1, 1, 1, 1 + 2]
    plain = layout.encode([state], [Intent()]).tokens_NT
    assert (tokens != plain).any(axis=1).tolist() == [True, False, False, False, True]
    assert PromptLayout.from_json(layout.as_json()) == layout
