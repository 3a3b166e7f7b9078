"""Leaders by name; whatever goes wrong is one clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from policy.leader import never_expires
from policy.registry import LeaderError, make_leader
from policy.schedulers.schedulers import SCHEDULERS

PLUG_IN = """
from policy.leader import Decision

class Mine:
    name = "mine"
    def decide(self, states, intents, expired):
        return []

class Nameless:
    pass

class Broken:
    def __init__(self):
        raise RuntimeError("no licence")
"""


@pytest.fixture
def plug_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "my_leaders.py").write_text(PLUG_IN)
    (tmp_path / "my_typo.py").write_text("def broken(:\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return "my_leaders"


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_by_name(name: str) -> None:
    assert make_leader(name).name == name


def test_anyones_own_class(plug_in: str) -> None:
    leader = make_leader(f"{plug_in}:Mine")
    assert leader.name == "mine" and leader.decide([], [], never_expires) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("proportional", "unknown leader 'proportional': expected round_robin, .*fair_caps, bundled"),
        ("", "unknown leader ''"),
        ("no_such_module_:Leader", "ModuleNotFoundError: No module named 'no_such_module_'"),
        ("my_leaders:Other", "AttributeError.*Other"),
        ("my_leaders:Nameless", "is no policy.leader.Leader"),
        ("my_leaders:Broken", "RuntimeError: no licence"),
        ("my_leaders:", "leader 'my_leaders:'"),
        (":Mine", "ValueError: Empty module name"),
        ("my_typo:Mine", "SyntaxError"),
    ],
)
def test_errors_name_what_is_wrong(plug_in: str, name: str, message: str) -> None:
    with pytest.raises(LeaderError, match=message):
        make_leader(name)


def test_a_directory_that_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(LeaderError, match=f"leader '{tmp_path}'"):
        make_leader(str(tmp_path))


def test_schedulers_need_no_language_model() -> None:
    code = "import sys; from policy.registry import make_leader; make_leader('dynamic'); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
