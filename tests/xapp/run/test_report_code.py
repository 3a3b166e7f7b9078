"""Reports are read from the first on: by compiled code where it is there, by Python until it is, or for good."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xapp.e2.kpm.report_reader import decode_report
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.run import report_code

NOTHING_COMPILED = """
import sys, numba
import numpy as np
from xapp.e2.kpm import report_reader
from xapp.e2.kpm.report_writer import encode_report
from xapp.e2.ue_id.ue_id import GnbDuUeId
from xapp.run.report_code import read_reports_by_machine_code

message = encode_report([GnbDuUeId(ue) for ue in range(40)], ("a",), np.arange(40.0)[:, None], 100)
def read():
    report = report_reader.decode_report(message)
    assert report.values[:, 0].tolist() == list(range(40))
    return report_reader._compiled_walk is not None
thread = read_reports_by_machine_code()
if thread is None:
    print("at once", read())
else:
    print("meanwhile", read())
    thread.join()
    print("afterwards", read())
"""


def run_python(code: str, cache: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "STACKMAC_CACHE": str(cache)},
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_nobody_waits_for_a_compiler_and_what_it_made_stays(tmp_path: Path) -> None:
    assert run_python(NOTHING_COMPILED, tmp_path) == "meanwhile False\nafterwards True\n"
    assert list(tmp_path.glob("walk_ues_*.nbi"))
    assert run_python(NOTHING_COMPILED, tmp_path) == "at once True\n"


def test_an_xapp_whose_leader_is_not_compiled_does_not_load_numba(tmp_path: Path) -> None:
    assert run_python(NOTHING_COMPILED.replace(", numba", ""), tmp_path) == "at once False\n"
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_compiled_python_reads_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*, may_compile: bool) -> None:
        raise RuntimeError("no LLVM")

    import numba  # noqa: F401

    monkeypatch.setattr(report_code, "read_all_compiled", fail)
    monkeypatch.setattr(report_code, "compile_apart", lambda module: None)
    with caplog.at_level(logging.WARNING):
        thread = report_code.read_reports_by_machine_code()
        assert thread is not None
        thread.join()
    assert caplog.messages[-1] == "reports are read by Python, which takes ten times as long: no LLVM"
    assert decode_report(encode_report([GnbDuUeId(1)], ("a",), np.ones((1, 1)), 100)).ue_keys == (1,)
