"""`python tools/run_requirements.py`: write requirements-run.txt, what a machine needs that only runs stackmac.

It is setup.py's requirements less what trains and what text models need, each by the version of constraints.txt.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "requirements-run.txt"
NOT_TO_RUN = ("torch", "transformers")
"""The shipped bundles are decided by compiled code; training, text models and the reference need these."""
HEAD = (
    "# What running stackmac needs, and training does not: made by tools/run_requirements.py out of setup.py and\n"
    "# constraints.txt. To be installed with `--constraint constraints.txt`, which pins what these need.\n"
)


def requirements() -> list[Requirement]:
    """setup.py's, as it hands them to setuptools."""
    handed: dict[str, Any] = {}
    real, setuptools.setup = setuptools.setup, lambda **values: handed.update(values)
    try:
        runpy.run_path(str(ROOT / "setup.py"))
    finally:
        setuptools.setup = real
    return [Requirement(line) for line in handed["install_requires"]]


def pins() -> dict[str, list[str]]:
    """By name: the versions that constraints.txt has of it, for one Python or another."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (version,) = pin.specifier
            found.setdefault(normal(pin.name), []).append(version.version)
    return found


def normal(name: str) -> str:
    return name.lower().replace("_", "-")


def text() -> str:
    """The file. Raises ValueError for a requirement that not exactly one version of the constraints satisfies."""
    known, lines = pins(), []
    for need in requirements():
        if need.name in NOT_TO_RUN:
            continue
        versions = [version for version in known.get(normal(need.name), []) if version in need.specifier]
        if len(versions) != 1:
            raise ValueError(f"constraints.txt has {versions} of {need}, expected one version")
        marker = f"; {need.marker}" if need.marker else ""
        lines.append(f"{need.name}=={versions[0]}{marker}\n")
    return HEAD + "".join(sorted(lines, key=str.lower))


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
