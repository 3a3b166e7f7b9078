"""requirements-run.txt is what its generator makes now of setup.py and constraints.txt, and lacks nothing that runs."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
GENERATOR = runpy.run_path(str(ROOT / "tools" / "run_requirements.py"))
LINES = [
    Requirement(line)
    for line in (ROOT / "requirements-run.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("#")
]


def test_it_is_what_the_generator_makes() -> None:
    made = GENERATOR["text"]()
    assert (ROOT / "requirements-run.txt").read_text(encoding="utf-8") == made, "python tools/run_requirements.py"


def test_it_is_setups_requirements_less_torch_and_transformers() -> None:
    needed = {need.name for need in GENERATOR["requirements"]()}
    assert needed - {line.name for line in LINES} == {"torch", "transformers"}
    assert {line.name for line in LINES} <= needed


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
def test_every_package_has_one_version_of_the_constraints(python: str) -> None:
    def holds(line: Requirement) -> bool:
        return line.marker is None or line.marker.evaluate({"python_version": python})

    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [Requirement(line) for line in constraints if line and not line.startswith("#")]
    wanted = {GENERATOR["normal"](pin.name): str(pin.specifier) for pin in pins if holds(pin)}
    for line in filter(holds, LINES):
        assert str(line.specifier) == wanted[GENERATOR["normal"](line.name)], line


def test_a_requirement_that_no_constraint_meets_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GENERATOR["text"].__globals__, "requirements", lambda: [Requirement("numpy<1")])
    with pytest.raises(ValueError, match=r"constraints.txt has \[\] of numpy<1"):
        GENERATOR["text"]()
