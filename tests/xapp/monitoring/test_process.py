"""What a process takes and how old it is, as the kernel has it; and which decision counts as the first."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xapp.monitoring.metrics import Metrics
from xapp.monitoring.process import let_go_of_code, nothing_collected, rss_mb, started_at_s


def test_resident_memory_is_the_kernels() -> None:
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    found = rss_mb()
    assert found is not None and 5 < found <= peak_mb + 1


def test_age_is_counted_from_the_start_of_the_process() -> None:
    began_s = time.monotonic()
    command = [sys.executable, "-c", "from xapp.monitoring.process import started_at_s; print(started_at_s())"]
    started_s = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert began_s - 0.02 <= started_s <= time.monotonic()
    own = started_at_s()
    assert own is not None and own < began_s


def test_the_first_decision_is_the_leaders() -> None:
    metrics = Metrics()
    assert metrics.summary()["start_to_first_decision_s"] is None
    metrics.decided("fallback:compiling", 1.0, 2.0)
    assert metrics.summary()["start_to_first_decision_s"] is None
    metrics.decided("model", 1.0, 2.0)
    first = metrics.summary()["start_to_first_decision_s"]
    assert first > 0
    metrics.decided("model", 1.0, 2.0)
    assert metrics.summary()["start_to_first_decision_s"] == first


def test_collecting_goes_on_after_a_start_that_failed() -> None:
    with pytest.raises(KeyError), nothing_collected():
        assert not gc.isenabled()
        raise KeyError
    assert gc.isenabled()


def test_what_stays_is_not_looked_through_later() -> None:
    frozen_before = gc.get_freeze_count()
    with nothing_collected(all_stays=True):
        made = [[] for _ in range(1000)]
    assert gc.get_freeze_count() >= frozen_before + len(made) and gc.isenabled()


LET_GO = """
from llvmlite import binding
from pathlib import Path
from xapp.monitoring.process import let_go_of_code, rss_mb

def resident_kb():
    mappings = Path("/proc/self/smaps").read_text().split("VmFlags:")
    code = [each for each in mappings if "r-xp" in each and "/libllvmlite" in each]
    return sum(int(each.split("Rss:")[1].split()[0]) for each in code)

def parse():
    return str(binding.parse_assembly("define i32 @f() { ret i32 7 }"))

parsed, before, all_before = parse(), resident_kb(), rss_mb()
let_go_of_code("libllvmlite")
after, all_after = resident_kb(), rss_mb()
let_go_of_code("libnothing")
print(before, after, all_before - all_after, parse() == parsed)
"""


def test_code_that_is_let_go_of_is_not_resident_and_runs_all_the_same() -> None:
    if not Path("/proc/self/smaps").exists():
        assert let_go_of_code("libllvmlite") is None  # no Linux: nothing happens
        return
    done = subprocess.run([sys.executable, "-c", LET_GO], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after, less_mb, same = done.stdout.split()
    assert int(before) > 10_000 and int(after) < int(before) / 4
    assert float(less_mb) > 5 and same == "True"
