"""The image, made by the Dockerfile's own steps and entered read-only as its user, against the lab's RIC and gNB.

`./dev image` runs these; they take minutes and Debian's archive, so that the suite leaves them out. IMAGE_FOLDER keeps
what is made. IMAGE_TARGET names another stage than the last; IMAGE_ARGUMENTS has what `--build-arg` takes, with spaces
in between.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dockerfile
import httpx
import pytest
from container import Container, Started
from root_filesystem import Build, Failed, Image

from training.command_line.options import words_of
from xapp.lab.gnb.options import GnbOptions
from xapp.lab.lab import START_TIMEOUT_S, free_port, xapp_descriptor
from xapp.lab.options import LabOptions
from xapp.lab.processes import Child
from xapp.lab.ric.options import RIC_PORTS, RicOptions
from xapp.run.stop_budget import STOP_S

ROOT = Path(__file__).parents[2]
FILE = dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
TARGET = os.environ.get("IMAGE_TARGET") or FILE.stages[-1].name
ARGUMENTS = dict(word.split("=", 1) for word in os.environ.get("IMAGE_ARGUMENTS", "").split())
NOT_IN_RUNTIME = ("torch", "transformers")
PERIOD_MS = 100
DECISIONS = 50
PATIENCE_S = 60.0

pytestmark = pytest.mark.timeout(3600)


@pytest.fixture(scope="module")
def image(say: Callable[[str], None]) -> Iterator[Image]:
    """Built in a folder that the image's user may enter."""
    release = re.sub(r".*-", "", FILE.stages[0].image)
    began_s = time.monotonic()
    with TemporaryDirectory(prefix="stackmac-image-", dir=os.environ.get("IMAGE_FOLDER")) as folder:
        os.chmod(folder, 0o755)
        build = Build(
            ROOT,
            Path(folder),
            base=ROOT / ".cache" / "image" / f"{release}.tar",
            may_lack=("librmr",),
            arguments=ARGUMENTS,
            say=say,
        )
        try:
            made = build.image(TARGET)
        except Failed as error:
            pytest.fail(str(error), pytrace=False)
        say(f"{time.monotonic() - began_s:6.1f} s  in all, for an image of {size_mb(made.root)} MB, of which")
        say(f"          {size_mb(made.root / 'opt' / 'stackmac')} MB are /opt/stackmac and the rest is Debian's")
        for stage, reason in made.lacking.items():
            say(f"          without what stage {stage} makes: {reason}")
        yield made


@pytest.fixture(scope="module")
def say(pytestconfig: pytest.Config) -> Callable[[str], None]:
    """Past pytest's capture, at once."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")

    def print_now(line: str) -> None:
        with capture.global_and_fixture_disabled():
            print(line, flush=True)

    return print_now


def size_mb(folder: Path) -> int:
    """Of all files; one with several names counts once."""
    files = {each.lstat().st_ino: each.lstat().st_size for each in folder.rglob("*") if not each.is_dir()}
    return round(sum(files.values()) / 1e6)


@pytest.fixture(scope="module")
def ric() -> Iterator[dict[str, int]]:
    """The lab's, beside the container; its ports."""
    child = Child("ric", ["ric", *words_of(RicOptions(**dict.fromkeys(RIC_PORTS, 0)))])
    try:
        yield child.wait_ready(PATIENCE_S)
    finally:
        child.stop()


class Deployed(NamedTuple):
    """A container, and where the xApp in it answers."""

    container: Container
    url: str


@pytest.fixture(scope="module")
def deployed(image: Image, ric: dict[str, int]) -> Iterator[Deployed]:
    descriptor = xapp_descriptor(LabOptions(period_ms=PERIOD_MS).resolved(), ric)
    descriptor["controls"]["http"]["port"] = port = free_port()
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        (Path(folder) / "config-file.json").write_text(json.dumps(descriptor), encoding="utf-8")
        variables = {
            "RMR_SEED_RT": "",
            "RMR_RTG_SVC": f"127.0.0.1:{ric['rtmgr_port']}",
            "RMR_CTL_PORT": str(free_port()),
            "ALARM_MGR_SERVICE_NAME": "127.0.0.1",
            "ALARM_MGR_SERVICE_PORT": str(ric["alarm_port"]),
        }
        yield Deployed(Container(image, Path(folder), variables), f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def xapp(deployed: Deployed, ric: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Started as the image starts it, with a gNB that reports to it."""
    gnb = Child("gnb", ["gnb", *words_of(GnbOptions(e2=f"127.0.0.1:{ric['e2_port']}", period_ms=PERIOD_MS))])
    started = deployed.container.start(tmp_path_factory.mktemp("xapp") / "log")
    try:
        gnb.wait_ready(START_TIMEOUT_S)
        yield started
    finally:
        started.close()
        gnb.stop()


def test_it_runs_as_its_user_and_can_write_nowhere_but_in_tmp(deployed: Deployed) -> None:
    found = deployed.container.run(
        "sh", "-c", "id -u; id -g; grep CapEff /proc/self/status; touch /tmp/x && touch /opt/x /x"
    )
    assert found.stdout.split() == ["65532", "65532", "CapEff:", "0000000000000000"]
    assert found.returncode == 1 and len(found.stderr.splitlines()) == 2, "neither /opt/x nor /x"


def wait_for(xapp: Started, deployed: Deployed, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The status as soon as something holds of it; no event tells another process."""
    give_up_at_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            status: dict[str, Any] = httpx.get(f"{deployed.url}/ric/v1/status", trust_env=False).json()
        except httpx.TransportError:
            status = {}
        if status and holds(status):
            return status
        assert xapp.running, xapp.log()
        assert time.monotonic() < give_up_at_s, f"{status}\n{xapp.log()}"
        time.sleep(0.2)


def test_it_is_the_version_of_the_repository(deployed: Deployed) -> None:
    version = re.search(r'version="(.*?)"', (ROOT / "setup.py").read_text(encoding="utf-8"))
    assert version is not None
    assert deployed.container.run("stackmac", "--version").stdout == f"stackmac {version[1]}\n"


def test_torch_is_in_the_full_image_alone(deployed: Deployed) -> None:
    for name in NOT_IN_RUNTIME:
        done = deployed.container.run("python", "-c", f"import {name}")
        assert (done.returncode == 0) == (TARGET == "full"), done.stderr


def test_the_model_leads_from_the_first_decision_on(
    deployed: Deployed, xapp: Started, say: Callable[[str], None]
) -> None:
    status = wait_for(xapp, deployed, lambda status: status["decisions"] >= DECISIONS)
    assert status["decided_by"].keys() == {"model"}, status["decided_by"]
    assert status["controls_acked"] > 0 and status["controls_failed"] == 0 and not status["dropped"]
    say(f"          {status['rss_mb']:g} MB resident, {status['start_to_first_decision_s']:g} s to the first decision")


def test_the_doctor_finds_no_fault(deployed: Deployed, xapp: Started, say: Callable[[str], None]) -> None:
    wait_for(xapp, deployed, lambda status: status["decisions"] >= DECISIONS)
    done = deployed.container.run("stackmac", "doctor", "--seconds", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    findings = json.loads(done.stdout)["findings"]
    for finding in findings:
        if finding["state"] != "ok":
            say(f"          {finding['state']}: {finding['check']}: {finding['found']}")
    assert sum(finding["state"] == "ok" for finding in findings) > len(findings) / 2


def test_a_stop_ends_process_1_in_time_and_in_order(deployed: Deployed, xapp: Started) -> None:
    wait_for(xapp, deployed, lambda status: status["decisions"] > 0)
    assert xapp.stop(STOP_S) == 0, xapp.log()
    assert "Traceback" not in xapp.log()
