"""`stackmac intent`: policies checked, shown, and put in force through a mediator."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI

from policy.cell_state import make_cell_state
from policy.intent import Intent, Target
from xapp.a1.api import policy_router
from xapp.a1.policy_model import make_policy_type
from xapp.a1.target_keeper import TargetKeeper
from xapp.cli import main
from xapp.http.server import BackgroundServer
from xapp.packaging.descriptor import FOLDER

EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))
CELL = "gnb_001_001_00000001/00f110000000011"


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., str]:
    def write(document: Any, name: str = "p.json") -> str:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return str(path)

    return write


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    status = main(["intent", *args])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_every_example_is_valid(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "validate", *map(str, EXAMPLES))
    assert (status, err) == (0, "")
    lines = [line for line in out.splitlines() if not line.startswith("  not applicable: ")]
    assert [line.partition(" (ORAN_")[0] for line in lines] == [f"{path}: valid" for path in EXAMPLES]


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "not JSON"),
        ({"mode": "auto"}, "mode is 'auto'"),
        ({"mode": "control", "note": "x"}, "note is 'x'"),
        ('{"mode": "shadow", "mode": "control"}', "the key mode is there twice in one object, expected once"),
        ('{"limits": {"per_ue": {"max_share_percent": 5, "max_share_percent": 50}}}', "the key max_share_percent is"),
        ({"limits": {"per_ue": {"max_share_percent": 101}}}, "limits.per_ue.max_share_percent is 101"),
    ],
)
def test_a_policy_that_is_wrong_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], document: Any, words: str
) -> None:
    path = file(document)
    for command in ("validate", "show"):
        status, out, err = run(capsys, command, path)
        assert (status, out) == (2, "")
        assert path in err and words in err and err.count("\n") == 1


def test_each_mistake_is_a_line_of_validate_and_all_are_one_of_show(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str]
) -> None:
    path = file({"mode": "auto", "period_ms": 5})
    mistakes = (
        "mode is 'auto': Input should be 'control', 'shadow' or 'fallback'",
        "period_ms is 5: Input should be greater than or equal to 10 (range 10 to 10240)",
    )
    assert run(capsys, "validate", path) == (2, "", "".join(f"{path}: {mistake}\n" for mistake in mistakes))
    assert run(capsys, "show", path) == (2, "", f"stackmac intent: {path}: {'; '.join(mistakes)}\n")


def test_a_policy_of_the_standards_has_each_key_once_too(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str]
) -> None:
    (example,) = (path for path in EXAMPLES if path.name == "slice-sla.json")
    path = file(example.read_text().rstrip()[:-1] + ', "scope": {}}')
    assert run(capsys, "validate", path)[0] == 2
    assert "the key scope is there twice in one object, expected once" in run(capsys, "show", path)[2]


def test_two_policies_of_one_name_are_not_shown_as_one(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    paths = [file({"mode": "shadow"}), file({"mode": "control"}, "other/p.json")]
    status, out, err = run(capsys, "show", *paths)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "2 files, but 1 name:" in err


def test_the_others_are_checked_all_the_same(capsys: pytest.CaptureFixture[str], file: Callable[..., str]) -> None:
    good = file({"mode": "shadow"}, "good.json")
    status, out, err = run(capsys, "validate", "/no/such/file", good)
    assert (status, out) == (2, f"{good}: valid\n")
    assert err == "/no/such/file: No such file or directory\n"


def test_show_says_what_policies_come_to_and_who_has_precedence(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str]
) -> None:
    one = file({"scope": {"cells": [CELL], "ue_ids": [7]}, "limits": {"per_ue": {"min_share_percent": 30}}}, "one.json")
    rest = {"scope": {"slices": [{"traffic_class": "embb"}]}, "limits": {"per_slice": {"max_share_percent": 50}}}
    all_embb = file({**rest, "objective": {"alpha": 2.0}}, "embb.json")
    even = file({"objective": {"alpha": 0.5}}, "zero.json")
    status, out, err = run(capsys, "show", one, all_embb, even, "--rbgs", "10", "--ue", "7:periodic", "--ue", "8:embb")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        f"cell {CELL}, 10 RBGs",
        "precedence: one > embb > zero",
        "mode control, alpha 2, floors hold over 10 periods",
        "slice embb (UEs 8): 0 to 5 RBGs, by embb",
        "UE 7: 3 to 10 RBGs, by one",
        "UE 8: 0 to 5 RBGs, no contention",
        "one: ENFORCED",
        "embb: ENFORCED",
        "zero: NOT_ENFORCED",
        "  zero: alpha 0.5: a policy that comes first asks for 2",
    ]


def test_show_uses_the_configuration_for_who_is_in_a_slice(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str]
) -> None:
    gold = file({"scope": {"slices": [{"sst": 1}]}, "limits": {"per_slice": {"min_share_percent": 20}}}, "gold.json")
    config = file({"controls": {"a1": {"slices": [{"sst": 1, "ue_ids": [4]}], "floor_window_periods": 1}}}, "c.json")
    ues = ("--ue", "4", "--ue", "5", "--rbgs", "10", "--json")
    _, out, _ = run(capsys, "show", gold, *ues)
    assert json.loads(out)["policies"] == {"gold": "NOT_ENFORCED"}
    _, out, _ = run(capsys, "show", gold, "--config", config, *ues)
    shown = json.loads(out)
    assert shown["policies"] == {"gold": "ENFORCED"}
    assert shown["slices"] == [{"slice": "1", "ue_ids": [4], "min_rbgs": 2, "max_rbgs": 10, "policies": ["gold"]}]
    assert shown["floor_window_periods"] == 1


@pytest.fixture
def xapp() -> Iterator[Callable[[list[dict[str, Any]]], str]]:
    """`xapp(rows)` answers GET /ric/v1/policies with them over real HTTP; returns its URL."""
    servers: list[BackgroundServer] = []

    def start(rows: list[dict[str, Any]]) -> str:
        app = FastAPI()
        app.include_router(policy_router(lambda: rows))
        servers.append(BackgroundServer(app, "127.0.0.1", 0))
        assert servers[-1].wait_started()
        return f"http://127.0.0.1:{servers[-1].port}"

    yield start
    for server in servers:
        server.close()


def test_show_says_what_has_come_of_targets_in_a_running_xapp(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], xapp: Callable[[list[dict[str, Any]]], str]
) -> None:
    targets = {"per_ue": {"min_throughput_kbps": 400}}
    gold = file({"scope": {"cells": [CELL], "ue_ids": [7]}, "targets": targets}, "gold.json")
    _, out, _ = run(capsys, "show", gold)
    assert "UE 7: at least 400 kbit/s, by gold; its share follows what its RBGs carry, and whether" in out
    target = Target("gold", "UE 7", frozenset({7}), min_kbps=400.0)
    keeper = TargetKeeper(70)
    for slot in range(0, 1200, 100):
        state = make_cell_state(
            CELL, num_rbgs=10, slots_per_dcm=100, slot=slot, ue_ids=(7,),
            served_bits_per_slot_U=[300.0], prb_share_U=[0.1],
        )  # fmt: skip
        keeper.on_decided(state, Intent(targets=(target,)))
    other = {"policy_instance_id": "other", "targets": [{"nonsense": 1}]}
    found = {"enforcement": "NOT_ENFORCED", "reasons": ["UE 7: it has 300 kbit/s"], "targets": keeper.rows()}
    url = xapp([{"policy_instance_id": "gold"} | found, other])
    status, out, err = run(capsys, "show", gold, "--url", url)
    assert (status, err) == (0, "")
    assert f"{CELL}: UE 7: at least 400 kbit/s, by gold: missed (300 kbit/s in the newest second, 400 wanted);" in out
    assert "% of the cell, at 300 bits an RBG and slot" in out
    assert "its share follows" not in out
    above, _, below = out.partition("in the running xApp")
    assert "gold: ENFORCED" in above and "kbit/s in the newest" not in above  # for the cell as it was asked for
    assert "gold: NOT_ENFORCED\n  gold: UE 7: it has 300 kbit/s\n" in below
    calm = file({"mode": "shadow"}, "calm.json")
    status, out, err = run(capsys, "show", calm, "--url", url)
    assert (status, err) == (0, "") and "calm: not in force there" in out.partition("in the running xApp")[2]
    status, out, err = run(capsys, "show", gold, "--url", "http://127.0.0.1:9")
    assert (status, err.count("\n")) == (1, 1) and "xApp" in err


SST_2 = {"sliceId": {"sst": 2, "plmnId": {"mcc": "001", "mnc": "01"}}}
DOWNLINK = "sliceSlaObjectives.guaDlThptPerSlice: the downlink is not controlled here"
ONLY = "NOT_ENFORCED is for what is not ours alone (guaDlThptPerSlice)"


def sla(file: Callable[..., str]) -> tuple[str, str]:
    """A slice's uplink floor, with a word on the downlink; and who is in the slice."""
    objectives = {"guaUlThptPerSlice": 400, "maxUlPacketDelayPerUe": 50, "guaDlThptPerSlice": 20000}
    config = {"controls": {"a1": {"slices": [{"sst": 2, "ue_ids": [7]}]}}}
    document = {"scope": SST_2, "sliceSlaObjectives": objectives}
    return file(document, "sla.json"), file(config, "config.json")


def test_a_policy_of_the_standards_that_holds_but_for_what_is_not_ours_says_so(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], xapp: Callable[[list[dict[str, Any]]], str]
) -> None:
    path, config = sla(file)
    words = ("show", path, "--config", config, "--ue", "7")
    _, out, _ = run(capsys, *words)
    held = "guaUlThptPerSlice and maxUlPacketDelayPerUe"
    assert out.endswith(f"sla: NOT_ENFORCED\n  sla: {DOWNLINK}\n  sla: {held}: in force; {ONLY}\n")
    assert json.loads(run(capsys, *words, "--json")[1])["holds"] == {"sla": f"{held}: in force; {ONLY}"}
    # Nobody is in the slice: that is another reason, and nothing is said to hold.
    assert ONLY not in run(capsys, "show", path)[1]
    row = {
        "cell": CELL, "of": "slice 2", "policy": "sla", "min_kbps": 400.0, "state": "met", "text": "410 kbit/s",
        "share_percent": 10.0, "cap_percent": 100.0, "bits_per_rbg": 300.0,
    }  # fmt: skip
    found = {"policy_instance_id": "sla", "enforcement": "NOT_ENFORCED", "reasons": [DOWNLINK], "targets": [row]}
    below = run(capsys, *words, "--url", xapp([found]))[1].partition("in the running xApp")[2]
    assert f"sla: NOT_ENFORCED\n  sla: {DOWNLINK}\n  sla: {held}: met; {ONLY}\n" in below
    missed = found | {"reasons": [DOWNLINK, "slice 2: 300 kbit/s"], "targets": [row | {"state": "missed"}]}
    below = run(capsys, *words, "--url", xapp([missed]))[1].partition("in the running xApp")[2]
    assert "sla: slice 2: 300 kbit/s" in below and ONLY not in below


def test_put_says_what_of_a_policy_of_the_standards_is_ours(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], serve: Any
) -> None:
    mediator = Mediator()
    service = serve(mediator.respond)
    path, _ = sla(file)
    ours = f"ours is guaUlThptPerSlice and maxUlPacketDelayPerUe; not ours: {DOWNLINK}"
    stays = ", and so its enforcement stays NOT_ENFORCED"
    assert run(capsys, "put", path, "--url", service.url) == (0, f"sla: in effect; {ours}{stays}\n", "")
    only = file({"scope": SST_2, "sliceSlaObjectives": {"guaUlThptPerSlice": 400}}, "only.json")
    assert run(capsys, "put", only, "--url", service.url) == (0, "only: in effect\n", "")


PAGE = (FOLDER.parent / "docs" / "policies.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ stackmac intent (.*?)\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=range(len(SHOWN)))
def test_what_the_page_shows_is_what_the_command_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, output: str
) -> None:
    monkeypatch.chdir(FOLDER.parent)
    assert run(capsys, *command.split()) == (0, output, "")


def test_the_page_has_worked_examples_and_shows_every_field_and_counter() -> None:
    assert len(SHOWN) == 4
    for name in ("cells", "slices", "ue_ids", "alpha", "per_ue", "per_slice", "mode", "period_ms", "a1_undecodable"):
        assert name in PAGE
    for link in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (FOLDER.parent / "docs" / link).exists(), link


@pytest.mark.parametrize("wrong", ["x", "7:fast", ":embb", "-1"])
def test_a_ue_that_is_none_is_one_line(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], wrong: str
) -> None:
    status, _, err = run(capsys, "show", file({"mode": "shadow"}), f"--ue={wrong}")
    assert status == 2 and repr(wrong) in err and err.count("\n") == 1


class Mediator:
    """Answers as the A1 mediator does, in the way that the test wants."""

    def __init__(self, in_effect: bool = True) -> None:
        self.types: dict[str, Any] = {}
        self.policies: dict[str, Any] = {}
        self.in_effect = in_effect

    def respond(self, request: Any) -> tuple[int, object]:
        assert request.path.startswith("/A1-P/v2/policytypes")
        if request.path == "/A1-P/v2/policytypes":
            return 200, list(self.types)
        type_id, *rest = request.path.split("/")[4:]
        name = rest[1] if len(rest) > 1 else ""
        if not rest:
            if request.method == "PUT":
                self.types[type_id] = request.body
                return 201, None
            return (200, self.types[type_id]) if type_id in self.types else (404, None)
        if rest[-1] == "status":
            return 200, {"instance_status": "IN EFFECT" if self.in_effect else "NOT IN EFFECT"}
        if request.method == "PUT":
            self.policies[name] = request.body
            return 202, None
        return (202, None) if self.policies.pop(name, None) is not None else (404, None)


def test_put_makes_the_type_known_and_waits_until_the_policy_is_in_effect(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], serve: Any
) -> None:
    mediator = Mediator()
    service = serve(mediator.respond)
    path = file({"mode": "shadow"}, "calm.json")
    assert run(capsys, "put", path, "--url", service.url) == (0, "calm: in effect\n", "")
    assert mediator.types == {"20100": make_policy_type()}
    assert mediator.policies == {"calm": {"mode": "shadow"}}
    status, out, _ = run(capsys, "put", path, "--url", service.url, "--id", "other", "--json")
    assert status == 0
    assert json.loads(out)["policy_instance_id"] == "other" in mediator.policies
    assert run(capsys, "put", path, "--url", service.url, "--delete") == (0, "calm: deleted\n", "")
    assert run(capsys, "put", path, "--url", service.url, "--delete") == (1, "calm: there is no such policy\n", "")
    assert list(mediator.policies) == ["other"]


def test_a_policy_that_no_xapp_accepts_is_said(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], serve: Any
) -> None:
    service = serve(Mediator(in_effect=False).respond)
    status, out, _ = run(capsys, "put", file({"mode": "shadow"}), "--url", service.url, "--wait", "0.1")
    assert (status, out) == (1, "p: not in effect after 0.1 s: no xApp has accepted it\n")
    status, out, _ = run(capsys, "put", file({"mode": "shadow"}), "--url", service.url, "--wait", "0")
    assert status == 0


def test_a_mediator_that_refuses_or_is_not_there_is_one_line(
    capsys: pytest.CaptureFixture[str], file: Callable[..., str], serve: Any
) -> None:
    stranger = serve(lambda request: (404, None))
    status, out, err = run(capsys, "put", file({"mode": "shadow"}), "--url", stranger.url)
    assert (status, out) == (1, "") and "neither /A1-P/v2/policytypes nor /a1-p/policytypes" in err
    service = serve(lambda request: (500, None))
    for url, words in (
        (service.url, "refuses policy p with status 500"),
        ("http://127.0.0.1:9", "A1 mediator: 127.0.0.1:9: "),
    ):
        status, out, err = run(capsys, "put", file({"mode": "shadow"}), "--url", url)
        assert (status, out) == (1, "")
        assert words in err and err.count("\n") == 1
