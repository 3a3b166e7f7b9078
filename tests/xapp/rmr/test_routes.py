"""Route tables: what each record means, and that a wrong one changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xapp.rmr.routes import RouteTable, is_endpoint

OURS = "xapp:4560"

TABLE = """\
# comments and empty lines are nothing

newrt|start|7
rte|12050|a:1,b:1;c:1           # round robin a, b; a copy to c
rte|20011|a1:4562|3
mse|12040,xapp:4560|-1|%meid
mse|12041,other:1|-1|elsewhere:1
mse|12050|9|only9:1
rte|100|xapp:4560,d:1;xapp:4560
newrt|end|6
meid_map|start|7
mme_ar|e2term:38000|gnb1 gnb2
mme_ar|e2term2:38000|gnb3
meid_map|end|2
"""


@pytest.fixture
def table() -> RouteTable:
    table = RouteTable(TABLE, own=[OURS])
    assert table.last_error == "" and table.loaded
    return table


def test_a_comma_takes_turns_and_a_semicolon_copies(table: RouteTable) -> None:
    assert [table.lookup(12050, 1) for _ in range(4)] == [
        ("a:1", "c:1"),
        ("b:1", "c:1"),
        ("a:1", "c:1"),
        ("b:1", "c:1"),
    ]


def test_the_subscription_is_tried_before_the_type_alone(table: RouteTable) -> None:
    assert table.lookup(12050, 9) == ("only9:1",)
    assert table.lookup(20011, 3) == ("a1:4562",)
    assert table.lookup(20011, 4) == ()
    assert table.lookup(20011) == ()


def test_a_managed_entity_routes_to_its_owner(table: RouteTable) -> None:
    assert table.lookup(12040, 77, "gnb2") == ("e2term:38000",)
    assert table.lookup(12040, -1, "gnb3") == ("e2term2:38000",)
    assert table.lookup(12040, -1, "gnb4") == ()


def test_a_record_for_another_sender_is_not_ours(table: RouteTable) -> None:
    assert table.lookup(12041) == ()
    other = RouteTable(TABLE, own=["other:1"])
    assert other.lookup(12041) == ("elsewhere:1",)
    assert other.lookup(12040, -1, "gnb1") == ()


def test_it_never_names_itself(table: RouteTable) -> None:
    assert [table.lookup(100) for _ in range(3)] == [("d:1",)] * 3
    table.update(f"meid_map|start\nmme_ar|{OURS}|gnb1\nmeid_map|end")
    assert table.lookup(12040, -1, "gnb1") == ()


def test_an_endpoint_that_fails_is_passed_over_while_another_works(table: RouteTable) -> None:
    assert {table.lookup(12050, usable=lambda endpoint: endpoint != "a:1")[0] for _ in range(4)} == {"b:1"}
    assert {table.lookup(12050, usable=lambda _: False)[0] for _ in range(4)} == {"a:1", "b:1"}


def test_updates_change_and_delete_records(table: RouteTable) -> None:
    assert table.update("updatert|start\ndel|12050|9\nrte|12050|z:1\nrte|5|y:1\nupdatert|end|3") == ""
    assert table.lookup(12050, 9) == ("z:1",)
    assert table.lookup(5) == ("y:1",)
    assert table.lookup(20011, 3) == ("a1:4562",)


def test_a_new_table_replaces_the_routes_and_keeps_the_managed_entities(table: RouteTable) -> None:
    assert table.update("newrt|start\nrte|12040|%meid\nnewrt|end") == ""
    assert table.lookup(12050) == ()
    assert table.lookup(12040, -1, "gnb1") == ("e2term:38000",)


def test_managed_entities_move_and_go(table: RouteTable) -> None:
    assert table.update("meid_map|start\nmme_ar|new:1|gnb1\nmme_del|gnb2 gnb9\nmeid_map|end|2") == ""
    assert table.lookup(12040, -1, "gnb1") == ("new:1",)
    assert table.lookup(12040, -1, "gnb2") == ()
    assert table.lookup(12040, -1, "gnb3") == ("e2term2:38000",)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("newrt|start\nrte|1|a:1\nnewrt|end|2", "line 3: newrt has 1 records, its end says 2"),
        ("newrt|start\nrte|1|a:1", "newrt is never ended"),
        ("newrt|start\nrte|1|a:1\nnewrt|start\nnewrt|end", "line 3: newrt starts inside newrt"),
        ("newrt|end", "line 1: newrt ends but was not started"),
        ("newrt|open", "line 1: newrt|open, expected start, begin or end"),
        ("newrt|begin\nrte|1|a:1\nnewrt|start\nnewrt|end", "line 3: newrt starts inside newrt"),
        ("rte|1|a:1", "line 1: rte outside of a table"),
        ("newrt|start\nrte|one|a:1\nnewrt|end", "line 2: the message type is 'one', expected a number"),
        ("newrt|start\nmse|1|x|a:1\nnewrt|end", "line 2: the subscription id is 'x', expected a number"),
        ("newrt|start\nrte|1|a\nnewrt|end", "line 2: endpoint 'a', expected host:port"),
        ("newrt|start\nrte|1|a:99999\nnewrt|end", "line 2: endpoint 'a:99999', expected host:port"),
        (f"newrt|start\nrte|1|a:{'1' * 5000}\nnewrt|end", f"line 2: endpoint 'a:{'1' * 77}, expected host:port"),
        ("newrt|start\nrte|1|;\nnewrt|end", "line 2: no endpoints"),
        ("newrt|start\nrte|1\nnewrt|end", "line 2: rte has 2 fields, expected 3 to 4"),
        ("newrt|start\nmme_ar|a:1|m\nnewrt|end", "line 2: mme_ar in a newrt block"),
        ("newrt|start\ndel|1|2\nnewrt|end", "line 2: del in a newrt block"),
        ("meid_map|start\nmme_ar|a:1\nmeid_map|end", "line 2: mme_ar has 2 fields, expected 3 to 3"),
        ("just text", "no newrt, updatert or meid_map block in it"),
    ],
)
def test_a_broken_table_leaves_the_old_one_in_force(table: RouteTable, text: str, reason: str) -> None:
    assert table.update(text) == reason == table.last_error
    assert table.lookup(20011, 3) == ("a1:4562",)
    assert table.lookup(12040, -1, "gnb1") == ("e2term:38000",)
    assert table.update("updatert|start\nupdatert|end") == "" == table.last_error


def test_records_that_nobody_can_use_do_not_cost_the_others() -> None:
    """A route manager writes them for message types without a number and for components that are not there."""
    table = RouteTable(
        "newrt|start\nmse||-1|a:1\nmse|5|-1|\nrte|6,other:1|not an endpoint\nrte|1|a:1\nnewrt|end|4", own=[OURS]
    )
    assert (table.last_error, table.lookup(1), table.lookup(5), table.lookup(6)) == ("", ("a:1",), (), ())


def test_a_managers_table_ends_the_files_say(table: RouteTable) -> None:
    assert "newrt" in table.update_by_manager("updatert|start\nrte|5|y:1\nupdatert|end")
    assert table.lookup(5) == () and not table.managed
    assert table.seed("newrt|start\nrte|1|seed:1\nnewrt|end") == "" and table.lookup(1) == ("seed:1",)
    assert table.update_by_manager("newrt|start\nrte|1|a:1\nnewrt|end|2") and not table.managed
    assert table.update_by_manager("newrt|start\nrte|1|a:1\nnewrt|end|1") == "" and table.managed
    assert table.seed("newrt|start\nrte|1|seed:1\nnewrt|end") == "" and table.lookup(1) == ("a:1",)
    assert table.update_by_manager("updatert|start\nrte|5|y:1\nupdatert|end") == "" and table.lookup(5) == ("y:1",)


def test_any_line_end_ends_a_record() -> None:
    assert RouteTable("newrt|start\rrte|1|a:1\r\nrte|2|b:1\nnewrt|end|2").lookup(2) == ("b:1",)


@pytest.mark.parametrize("block", ["newrt", "updatert", "meid_map"])
def test_a_table_may_begin_as_librmrs_guide_has_it(block: str) -> None:
    record = "mme_ar|10.0.0.5:4560|gnb" if block == "meid_map" else "rte|12050|10.0.0.5:4560"
    table = RouteTable(f"newrt|start\nrte|12040|%meid\nnewrt|end\n{block}|begin|rt-7\n{record}\n{block}|end|1\n")
    assert table.last_error == ""
    found = table.lookup(12040, meid="gnb") if block == "meid_map" else table.lookup(12050)
    assert found == ("10.0.0.5:4560",)


def test_unknown_records_are_skipped() -> None:
    table = RouteTable("newrt|start\nfuture|1|2\nrte|1|a:1\nnewrt|end|1")
    assert table.lookup(1) == ("a:1",)


words = st.sampled_from(
    ["newrt", "updatert", "meid_map", "start", "end", "rte", "mse", "del", "mme_ar", "mme_del", "1"]
)
lines = st.lists(st.one_of(words, st.text(max_size=6)), max_size=5).map("|".join)


@given(st.one_of(st.text(), st.lists(lines, max_size=8).map("\n".join)))
def test_any_text_is_taken_or_refused_in_one_line(text: str) -> None:
    table = RouteTable(TABLE)
    reason = table.update(text)
    assert "\n" not in reason
    assert not reason or table.lookup(20011, 3) == ("a1:4562",)


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", ":1", "host:0", "host:65536", "host:-1", "host:²", "host:" + "0" * 5000 + "1"),
        *("tcp://10.0.0.1:4561", "a:1,b:1", "a|b:1", "a\nnewrt|end:1", "a b:1", "\ud800:1"),
    ],
)
def test_what_is_no_endpoint(text: str) -> None:
    assert not is_endpoint(text)


@pytest.mark.parametrize("text", ["service-ricxapp-stackmac-rmr.ricxapp:4560", "10.0.0.1:1", "[fe80::1%eth0]:65535"])
def test_what_is_an_endpoint(text: str) -> None:
    assert is_endpoint(text)


def test_changes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xapp.rmr.routes.MAX_ENTRIES", 3)
    table = RouteTable("newrt|start\nrte|1|a:1\nrte|2|a:1\nnewrt|end\nmeid_map|start\nmme_ar|a:1|gnb1\nmeid_map|end")
    assert table.last_error == ""
    for more in ("updatert|start\nrte|3|a:1\nupdatert|end", "meid_map|start\nmme_ar|a:1|gnb2\nmeid_map|end"):
        assert table.update(more) == "4 routes and nodes in all, expected at most 3"
    assert table.lookup(1) == ("a:1",) and table.lookup(3) == ()
    assert table.update("updatert|start\ndel|2|-1\nrte|3|a:1\nupdatert|end") == ""
