"""An image's pycrate: cut down to E2AP, it reads and writes what the whole one does."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "cut_pycrate.py"
INSTALLED = Path(sysconfig.get_path("purelib"))
ROUND_TRIP = """
import json, sys
from pathlib import Path
from xapp.e2.e2ap import pycrate_codec
vectors = json.loads(Path(sys.argv[1]).read_text())["vectors"]
pdus = [bytes.fromhex(v["hex"]) for v in vectors if v["name"].startswith("E2AP-PDU")]
same = [pycrate_codec.encode_json(pycrate_codec.decode_json(pdu)) == pdu for pdu in pdus]
pycrate_codec.with_names(pycrate_codec.decode_json(pdus[0]))
files = [m.__file__ for name, m in sys.modules.items() if name.startswith("pycrate_")]
print(json.dumps({"same": same, "files": files}))
"""


@pytest.fixture(scope="module")
def site_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip installed of pycrate, as links."""
    folder = tmp_path_factory.mktemp("site-packages")
    for package in INSTALLED.glob("pycrate*"):
        if package.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(package, folder / package.name, copy_function=os.symlink, ignore=ignore)
    subprocess.run([sys.executable, TOOL, folder], check=True)
    return folder


def test_e2ap_is_read_and_written_with_what_is_left_alone(site_packages: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site_packages), str(ROOT)])}
    vectors = str(ROOT / "tests" / "xapp" / "e2" / "vectors.json")
    command = [sys.executable, "-c", ROUND_TRIP, vectors]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found["same"]) > 3 and all(found["same"])
    assert found["files"] and all(file.startswith(str(site_packages)) for file in found["files"])


def test_little_is_left_but_the_licence(site_packages: Path) -> None:
    files = [path for path in site_packages.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 5_000_000
    assert any(path.name.lower().startswith("license") for path in files)


def test_a_folder_without_pycrate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no pycrate_asn1dir/__init__.py"):
        runpy.run_path(str(TOOL))["cut"](tmp_path)
