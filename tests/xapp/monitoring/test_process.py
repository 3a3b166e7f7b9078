"""What a process takes and how old it is, as the kernel has it; and which decision counts as the first."""

from __future__ import annotations

import gc
import resource
import subprocess
import sys
import time

import pytest

from xapp.monitoring.metrics import Metrics
from xapp.monitoring.process import nothing_collected, rss_mb, started_at_s


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
