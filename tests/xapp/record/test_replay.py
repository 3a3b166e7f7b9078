"""Recordings played again: every control comes out byte for byte, the first other byte is found, they explain
themselves."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from policy.grammar import PAPER
from policy.intent import Intent, Mode, SliceLimit
from policy.leader_models.language_model import ModelConfig
from policy.model_kinds import new_model
from policy.model_leader import ModelLeader, load_bundled_leader
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from xapp.cli import main
from xapp.config.model import Controls
from xapp.control.cell_link import ControlTarget, ReportSubscription
from xapp.e2.dcm import messages as dcm
from xapp.e2.dialect import Dialect
from xapp.e2.e2ap import hot_messages as e2ap
from xapp.e2.rc import messages as rc
from xapp.monitoring.metrics import Metrics
from xapp.quotas.quota_store import QuotaKeeper
from xapp.record.file_format import Recording, RecordingError
from xapp.record.recorder import Recorder
from xapp.record.replay import Replay, ReplayResult
from xapp.ric.sdl import SharedStore
from xapp.rmr.transport import RIC_INDICATION, RmrMessage

PATIENCE_S = 30.0


class Model(ModelLeader):
    """Random weights, the same ones in every run; fails where it is told to."""

    fails = False
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def __init__(self, seed: int = 1) -> None:
        torch.set_num_threads(1)
        size = ModelConfig(hidden_size=32, num_layers=2, num_heads=2, intermediate_size=48)
        super().__init__(new_model("pointer", size, seed), PAPER, "random")

    def decide(self, *args: Any) -> Any:
        if self.fails:
            raise RuntimeError("told to")
        self.meanwhile()
        return super().decide(*args)


Record = Callable[..., Any]


@pytest.fixture
def record(make_cell: Any, path: Path) -> Record:
    """`record(leader, play)`: plays with a cell of which everything is recorded."""

    def run(leader: Any, play: Callable[[Any], None], name: str = "") -> Any:
        metrics = Metrics()
        recorder = Recorder(path, metrics)
        recorder.opened(Controls(leader=name or "proportional_fair"), 1)
        cell = make_cell(leader, recorder)
        play(cell)
        recorder.close()
        assert metrics.summary()["dropped"] == {}
        return cell

    return run


class ByTorch(Model):
    """The shipped bundles as every recording before the compiled engine had them."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.name, self._bundled = "bundled", load_bundled_leader()

    def decide(self, *args: Any) -> Any:
        if self.fails:
            raise RuntimeError("told to")
        return self._bundled.decide(*args)


def replayed(path: Path, leader: Any, **options: Any) -> ReplayResult:
    with Recording(path) as recording:
        return Replay(recording, leader, **options).run()


def eventful(cell: Any) -> None:
    """What a cell may go through: UEs come and go, limits, a shadow, a failing leader, refusals, late news, the end."""
    node = cell.node
    rng = np.random.default_rng(4)
    for sn in range(1, 31):
        ue_ids = (1, 2, 3) if sn < 12 else (2, 3, 5, 8)
        cell.intent = {
            5: Intent(max_share_percent={2: 20.0}, min_share_percent={3: 50.0}),
            6: Intent(slice_limits=(SliceLimit("gold", frozenset({1, 3}), 50.0, owed_rbgs=0.25),), alpha=2.0),
            8: Intent(mode=Mode.SHADOW),
            9: Intent(mode=Mode.SHADOW),
            20: Intent(mode=Mode.FALLBACK),
        }.get(sn, Intent())
        cell.loop._leader.fails = sn == 15
        indication = node.indication(
            ue_ids,
            buffer_bits=rng.choice([0.0, 500.0, 4000.0, np.nan], len(ue_ids)),
            served_bits=rng.choice([0.0, 300.0], len(ue_ids)),
        )
        cell.report(sn, indication)
        if sn == 12:
            waiting = cell.mailbox.take(0.0)
            cell.report(sn + 100, node.indication((2, 3, 5)))  # while the leader thinks about the report before
            cell.loop.decide([report for _, report in waiting])
            cell.mailbox.take(0.0)
            continue
        if sn == 13:
            cell.receiver.handle(RmrMessage(RIC_INDICATION, b"no indication", meid=node.name))
            cell.receiver.handle(node.dcm_message(sn, instance=77))
            continue
        if sn > 12:
            cell.report(sn + 200, indication)  # the node has counted on: what came before is older now
        cell.decide_what_waits()
        message = node.rmr.receive(0.02 if cell.intent.mode is Mode.SHADOW else PATIENCE_S)
        if message is not None and sn % 3:
            request = e2ap.decode_control_request(message.payload)
            refused = node.refusal(request, dcm.OutcomeCode.UNKNOWN_UE)
            cell.receiver.handle(refused if sn % 4 == 0 else node.acknowledgement(request))
    cell.sender.release_all()


def test_the_engine_says_again_what_torch_said(record: Record, path: Path) -> None:
    cell = record(ByTorch(), eventful)
    result = replayed(path, make_leader("bundled"))
    assert (result.difference, result.ended_early, result.decisions) == ("", "", 29)
    made = cell.loop.log.newest(cell.node.cell, 100)
    assert sum(each.decided_by == "model" for each in made) > 20


def test_every_control_comes_out_again_byte_for_byte(record: Record, path: Path) -> None:
    cell = record(Model(), eventful)
    result = replayed(path, Model())
    made = cell.loop.log.newest(cell.node.cell, 100)
    assert (result.difference, result.ended_early) == ("", "")
    assert result.decisions == len(made) == 29
    assert result.controls == sum(len(each.outcome.controls) for each in made) + 1, "and the release at the end"
    assert {each.decision.reason for each in made} == {"", "error", "intent"}
    assert any(each.guard_changes for each in made)


@pytest.mark.parametrize("ask_leader", [True, False])
def test_a_policy_that_came_while_the_leader_thought_holds_in_a_replay_too(
    record: Record, path: Path, ask_leader: bool
) -> None:
    come = [Intent(max_share_percent={1: 0.0}), Intent(mode=Mode.SHADOW), Intent(mode=Mode.FALLBACK), Intent()]
    model = Model()

    def play(cell: Any) -> None:
        model.meanwhile = lambda: setattr(cell, "intent", come.pop(0))
        for sn in (1, 2, 3, 4):
            cell.intent = Intent()
            cell.decide(sn)

    cell = record(model, play)
    made = [*reversed(cell.loop.log.newest(cell.node.cell, 9))]
    assert [each.intent_then == each.intent for each in made] == [False, False, False, True]
    assert [each.outcome.nothing or each.decided_by for each in made] == ["model", "shadow", "fallback:intent", "model"]
    records: list[Any] = []
    result = replayed(path, Model(), ask_leader=ask_leader, on_record=records.append)
    assert (result.difference, result.decisions, result.controls) == ("", 4, 4)
    assert [(each.intent_then, each.intent) for each in records] == [(each.intent_then, each.intent) for each in made]


def test_the_recorded_proposals_can_stand_for_the_leader(record: Record, path: Path) -> None:
    cell = record(Model(), eventful)
    records: list[Any] = []
    result = replayed(path, SCHEDULERS["dynamic"], ask_leader=False, on_record=records.append)
    assert result.difference == ""
    for then, now in zip(reversed(cell.loop.log.newest(cell.node.cell, 100)), records, strict=True):
        assert (now.id, now.time_s, now.decision_ms) == (then.id, then.time_s, then.decision_ms)
        assert (now.decided_by, now.guard_changes, now.intent) == (then.decided_by, then.guard_changes, then.intent)
        assert now.decision.tokens == then.decision.tokens
        np.testing.assert_array_equal(now.state.buffer_bits_U, then.state.buffer_bits_U)
        assert [c.status for c in now.outcome.controls] == [c.status for c in then.outcome.controls]
        assert now.outcome.nothing == then.outcome.nothing


def test_another_model_is_named_by_the_first_token_that_differs(record: Record, path: Path) -> None:
    record(Model(), eventful)
    result = replayed(path, Model(seed=2))
    assert result.difference.startswith("decision ") and "the leader said (" in result.difference
    assert "bytes differ from" in result.difference


def test_an_instance_that_stands_back_and_steps_forward_again(record: Record, path: Path) -> None:
    def play(cell: Any) -> None:
        three_decisions(cell)
        cell.sender.enter_standby()
        cell.intent = Intent(mode=Mode.SHADOW)
        assert cell.decide(4).outcome.controls == [], "nothing is controlled that could be released"
        cell.intent = Intent()
        assert cell.decide(5).outcome.nothing == "yielded"
        cell.sender.take_control(77)
        cell.sender.lease_periods = 5  # a configuration that was read again
        assert cell.decide(6).outcome.controls[0].instance_epoch == 77

    record(SCHEDULERS["proportional_fair"], play)
    result = replayed(path, SCHEDULERS["proportional_fair"])
    assert (result.difference, result.decisions, result.controls) == ("", 6, 4)


def three_decisions(cell: Any) -> None:
    for sn in (1, 2, 3):
        cell.decide(sn)


def changed(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    events = [json.loads(line) for line in path.read_text().splitlines()]
    change(events)
    path.write_text("".join(json.dumps(event) + "\n" for event in events))


def test_the_first_byte_that_differs_is_found(record: Record, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(SCHEDULERS["proportional_fair"], three_decisions)
    assert main(["replay", str(path)]) == 0
    chosen = "the same: 3 messages, 3 decisions, 3 controls and releases equal byte for byte\n"
    assert capsys.readouterr().out == chosen

    def flip(events: list[dict[str, Any]]) -> None:
        (control,) = [event for event in events if event["event"] == "decided"][1]["cells"][0]["controls"]
        pdu = bytearray(base64.b64decode(control["pdu"]))
        pdu[40] ^= 1
        control["pdu"] = base64.b64encode(pdu).decode()

    changed(path, flip)
    assert main(["replay", str(path)]) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("DIFFERENT after 2 messages, 2 decisions: decision 2 about gnb_001")
    assert "bytes differ from 40 on" in line


def test_a_recording_that_breaks_off_anywhere_is_read_up_to_there(record: Record, path: Path, tmp_path: Path) -> None:
    record(SCHEDULERS["proportional_fair"], three_decisions)
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    part = tmp_path / "part"
    decisions = set()
    for length in [*range(first, len(whole), 41), len(whole)]:
        part.write_bytes(whole[:length])
        result = replayed(part, SCHEDULERS["proportional_fair"])
        assert result.difference == ""
        assert bool(result.ended_early) == (whole[length - 1 : length] != b"\n")
        decisions.add(result.decisions)
    assert decisions == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"no recording\n", b"{}\n", b'{"event":"recording","format":99}\n', b"[" * 9000 + b"\n"]
)
def test_what_is_no_recording_is_one_line(path: Path, content: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(content)
    assert main(["replay", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"stackmac replay: {path} ")
    assert main(["replay", str(path.with_name("nothing"))]) == 2
    assert "cannot read" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["dcm", "rc"])
def test_whatever_a_recording_says_it_is_replayed_or_refused(record: Record, path: Path, kind: str) -> None:
    """No value in any field of any line makes a replay fail in another way than with a line that names it."""
    record(SCHEDULERS["proportional_fair"], three_decisions if kind == "dcm" else under_quotas)
    good, rng = path.read_text().splitlines(), random.Random(1)
    refused = 0
    for _ in range(120):
        events = [json.loads(line) for line in good]
        victim = rng.choice(events)
        key = rng.choice([k for k in victim if k != "event"] or ["event"])
        victim[key] = rng.choice([None, -1, 1e300, "x", [], {}, [None], 2**70, True, victim])
        try:
            path.write_text("".join(json.dumps(event) + "\n" for event in events))
        except ValueError:
            continue  # a circle
        try:
            replayed(path, SCHEDULERS["proportional_fair"])
        except RecordingError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 20


def under_quotas(cell: Any, dialect: Dialect | None = None) -> None:
    """The same node under RC control: quotas that wait for shared data, answers, a silent UE, the end.

    dialect: what its reports have to tell first.
    """
    node, observer = cell.node, cell.receiver._observer
    store = SharedStore(environ={})
    keeper = QuotaKeeper(Controls(), store, observer=observer)
    cell.receiver.detach(node.dcm_instance)
    link = node.link(has_kpm=True, has_dcm=False)
    known = Dialect.STANDARD if dialect is None else None
    form = rc.QuotaForm(rc.Layout.WRAPPED if dialect is None else rc.Layout.UNWRAPPED, call_process_ids=True)
    encoder = keeper.encoder(node.name, form, known)
    cell.receiver.on_dialect = lambda name, form: encoder.use_dialect(form)
    link.target = ControlTarget(node.name, node.cell, 3, node.kpm_instance, node.carrier, encoder)
    cell.sender.watch(link.target)
    cell.receiver.attach(node.kpm_instance, ReportSubscription(node.cell, "kpm", ("DRB.UEThpUl", "CQI"), known), link)
    for sn in range(1, 13):
        ues = (1, 2, 3) if sn < 6 else (2, 3, 4)
        cell.intent = Intent(max_share_percent={2: 20.0}) if sn > 3 else Intent()
        rates = {ue: {"DRB.UEThpUl": 100.0 * ue * (sn % 4), "CQI": float(ue + sn)} for ue in ues}
        cell.receiver.handle(node.kpm_message(sn, rates, dialect=dialect or Dialect.STANDARD))
        cell.decide_what_waits()
        keeper.save()
        cell.sender.pump()
        while (message := node.rmr.receive(0.02)) is not None:
            request = e2ap.decode_control_request(message.payload)
            cell.receiver.handle(
                node.refusal(request, dcm.OutcomeCode.UNKNOWN_UE) if sn == 5 else node.acknowledgement(request)
            )
    cell.sender.release_all()
    store.close()


@pytest.mark.parametrize("dialect", list(Dialect))
def test_what_a_nodes_reports_told_is_told_again(record: Record, path: Path, dialect: Dialect) -> None:
    cell = record(SCHEDULERS["proportional_fair"], lambda cell: under_quotas(cell, dialect))
    result = replayed(path, SCHEDULERS["proportional_fair"])
    assert (result.difference, result.ended_early, result.decisions) == ("", "", 12)
    assert result.controls == cell.metrics["controls_sent"] + cell.metrics["releases_sent"] > 5


def test_quotas_come_out_again_byte_for_byte(record: Record, path: Path) -> None:
    cell = record(SCHEDULERS["proportional_fair"], under_quotas)
    records: list[Any] = []
    result = replayed(path, SCHEDULERS["proportional_fair"], on_record=records.append)
    assert (result.difference, result.ended_early, result.decisions) == ("", "", 12)
    sent = cell.metrics["controls_sent"] + cell.metrics["releases_sent"]
    assert result.controls == sent > 5
    assert any(each.outcome.in_force.get("quotas") for each in records)

    def change(events: list[dict[str, Any]]) -> None:
        messages = [m for event in events if event.get("call") == "due" for m in event["messages"]]
        messages[2]["ue"] += 1

    changed(path, change)
    assert replayed(path, SCHEDULERS["proportional_fair"]).difference.startswith(f"quotas of {cell.node.name}: was {{")


def test_a_gap_ends_a_replay(record: Record, path: Path) -> None:
    record(SCHEDULERS["proportional_fair"], three_decisions)
    changed(path, lambda events: events.insert(4, {"event": "gap", "lost": 7}))
    result = replayed(path, SCHEDULERS["proportional_fair"])
    assert (result.decisions, result.ended_early) == (1, "line 5: 7 events were lost here")


# -- asking a recording -----------------------------------------------------------------------------------------------


def test_a_recording_explains_itself(
    record: Record, path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    record(Model(), eventful, name="test_replay:Model")
    assert main(["explain", "--record", str(path), "--ue", "2", "--id", "5", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["id"], document["intent"]["max_share_percent"]) == (5, {"2": 20.0})
    assert document["odds"]["log_probs_equal"], document["odds"]
    assert document["control"]["messages"][0]["status"] == "acknowledged"
    assert {finding["code"] for finding in document["ues"][0]["why"]} & {"cap", "capped"}

    assert main(["explain", "--record", str(path), "--ue", "1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "decision 29 about" in printed and "it was not in the report, which had UEs 2, 3, 5, 8" in printed
    assert "in decision 11" in printed

    assert main(["explain", "--record", str(path), "--id", "99"]) == 2
    assert f"no decision 99 in {path}, which has 29 decisions" in " ".join(capsys.readouterr().err.split())


def test_without_its_leader_a_recording_still_says_what_was_decided(
    record: Record, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record(Model(), eventful, name="gone:Leader")
    assert main(["replay", str(path)]) == 0
    assert "leader gone:Leader is not here" in capsys.readouterr().err
    assert main(["explain", "--record", str(path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert "No module named 'gone'" in document["odds"]["reason"]
    assert document["allocation"]["owners"]
