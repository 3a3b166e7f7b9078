"""The wheel is complete: installed elsewhere, it runs the lab without the checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
PACKAGED = ("command_line", "policy", "training", "xapp")
BUILD_FILES = ("setup.py", "pyproject.toml", "README.md", "LICENSE")
LAB_TIMEOUT_S = 150
"""Three processes start, and compile if the checkout has not yet, on two busy cores; the lab itself takes 2 s."""


def run(*command: str | Path, cwd: Path, timeout_s: float = 120) -> str:
    """Standard output of a command that must succeed."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s
    )
    assert result.returncode == 0, f"{command} exited {result.returncode}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy: left-overs of earlier builds in the checkout cannot slip in, nor new ones be left there."""
    source = tmp_path_factory.mktemp("source")
    for name in BUILD_FILES:
        shutil.copy(CHECKOUT / name, source)
    for name in PACKAGED:
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", ".", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """bin/ of a new virtual environment with the wheel in it.

    The dependencies are those of the running interpreter, lent through a path entry: no network, no minutes. Path
    entries are not searched for .pth files of their own, so an editable install over there stays out of sight.
    """
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    install = ["install", "--no-deps", "--no-index", "--disable-pip-version-check", wheel]
    run(sys.executable, "-m", "pip", "--python", python, *install, cwd=folder)
    # Only now: pip would have found stackmac already installed over there.
    (site_packages,) = folder.glob("lib/python*/site-packages")
    lent = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (site_packages / "dependencies.pth").write_text("".join(f"{path}\n" for path in lent))
    lend_machine_code(site_packages)
    return folder / "bin"


def lend_machine_code(site_packages: Path) -> None:
    """Give the installed packages what numba has compiled in the checkout: it is the same code, and takes a minute.

    numba takes it for current where the source has the size and the time that it had.
    """
    for name in PACKAGED:
        for compiled in (CHECKOUT / name).rglob("__pycache__/*.nb[ci]"):
            source = compiled.parents[1] / f"{compiled.name.partition('.')[0]}.py"
            ours, theirs = (root / source.relative_to(CHECKOUT) for root in (CHECKOUT, site_packages))
            is_by_digest = not ours.exists()  # the engine's code, which the digest of its sources names
            if is_by_digest or theirs.read_bytes() == ours.read_bytes():
                if not is_by_digest:
                    shutil.copystat(ours, theirs)
                cache = theirs.parent / "__pycache__"
                cache.mkdir(exist_ok=True)
                shutil.copy(compiled, cache)


def test_the_packages_come_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    code = f"import json; print(json.dumps([__import__(name).__file__ for name in {PACKAGED}]))"
    for file in json.loads(run(installed / "python", "-c", code, cwd=tmp_path)):
        assert Path(file).resolve().is_relative_to(installed.parent.resolve())


def test_the_wheel_carries_the_data_files(installed: Path) -> None:
    """Every data file beside the code (bundles, schemas, protocol definitions) is in the wheel."""
    (site_packages,) = installed.parent.glob("lib/python*/site-packages")
    missing = [
        str(path.relative_to(CHECKOUT))
        for name in PACKAGED
        for path in (CHECKOUT / name).rglob("*")
        if path.is_file()
        and "__pycache__" not in path.parts
        and (path.suffix in {".json", ".proto", ".safetensors"} or path.name == "py.typed")
        and not (site_packages / path.relative_to(CHECKOUT)).is_file()
    ]
    assert missing == []


@pytest.mark.timeout(LAB_TIMEOUT_S + 60)
def test_the_lab_runs_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    result = tmp_path / "lab.json"
    run(installed / "stackmac", "lab", "--seconds", "2", "--json", result, cwd=tmp_path, timeout_s=LAB_TIMEOUT_S)
    lab = json.loads(result.read_text())
    assert lab["decisions"] > 0
    assert lab["decode_errors"] == 0
