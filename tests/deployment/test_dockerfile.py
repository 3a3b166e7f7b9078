"""The Dockerfile, as far as it can be tried without an engine: stages, files, versions, user, start, and its wheel."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution, version
from pathlib import Path

import dockerfile
import pytest
import yaml

from xapp.packaging import descriptor
from xapp.platform.libraries import ADD_COMMAND

ROOT = Path(__file__).parents[2]
FILE = dockerfile.parse((ROOT / "Dockerfile").read_text(encoding="utf-8"))
IGNORED = dockerfile.ignore_patterns(ROOT / ".dockerignore")
RUNTIME, FULL = FILE.whole(FILE.stages[-1].name), FILE.whole("full")
PUBLIC_HOSTS = {"docker.io", "packagecloud.io", "download.pytorch.org"}
"""Where a build takes anything from, besides Debian's and Python's own archives."""
VALUES = yaml.safe_load((ROOT / "helm" / "stackmac" / "values.yaml").read_text(encoding="utf-8"))


def copied() -> list[str]:
    """What the build takes out of the repository."""
    return [
        source
        for stage in FILE.stages
        for copy in stage.all("COPY")
        if "from" not in copy.options
        for source in copy.words[:-1]
    ]


def test_stages_build_on_a_pinned_python_and_copy_from_stages_before_them() -> None:
    earlier: list[str] = []
    for stage in FILE.stages:
        assert stage.image in earlier or re.fullmatch(r"docker\.io/library/python:3\.13-slim-[a-z]+", stage.image)
        for copy in stage.all("COPY"):
            if "from" in copy.options:
                assert copy.options["from"] in earlier
                made = " ".join(each.text for each in FILE.whole(copy.options["from"]).instructions)
                assert copy.words[0] in made, f"nothing there makes {copy.words[0]}"
        earlier.append(stage.name)
    assert len(set(earlier)) == len(earlier)


def test_every_variable_is_declared_in_its_stage() -> None:
    assert {stage.name: dockerfile.undeclared(FILE.whole(stage.name)) for stage in FILE.stages} == {
        stage.name: set() for stage in FILE.stages
    }


def test_what_is_copied_exists_and_is_not_ignored() -> None:
    assert copied()
    for source in copied():
        assert (ROOT / source).exists(), source
        assert not dockerfile.is_ignored(source, IGNORED), source


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        "runs/x",
        "tests/conftest.py",
        "tools/find_python.sh",
        "xapp/__pycache__/app.pyc",
        "deploy.key",
    ],
)
def test_nothing_else_gets_into_the_build(path: str) -> None:
    assert dockerfile.is_ignored(path, IGNORED)


def test_shell_commands_parse() -> None:
    for stage in FILE.stages:
        for run in stage.all("RUN"):
            subprocess.run(["sh", "-n", "-c", run.text], check=True)


def test_versions_are_the_tested_ones() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = set(re.findall(r"torch==\S+", text))
    assert torch in constraints
    assert ADD_COMMAND in text.replace("--no-compile ", ""), "the image has the platform's libraries"
    assert set(ADD_COMMAND.split()[3:]) <= set(constraints)
    installs = [part for part in re.split(r"&&|\n", text) if "pip install" in part and "--no-deps" not in part]
    assert installs and all("--constraint constraints.txt" in install for install in installs)


def test_the_image_runs_without_torch_and_the_full_one_has_all_that_bundles_need() -> None:
    made = {name: " ".join(run.text for run in FILE.whole(name).all("RUN")) for name in ("build", "build-full")}
    assert [copy.options["from"] for copy in RUNTIME.all("COPY")] == ["librmr", "build"]
    assert [copy.options["from"] for copy in FULL.all("COPY")] == ["librmr", "build-full"]
    assert "requirements-run.txt" in made["build"] and "torch" not in made["build"]
    (added,) = re.findall(r"constraints.txt (torch .*?) &&", made["build-full"])
    assert set(added.split()) == {"torch", "transformers", "peft"}


def test_the_bill_of_materials_is_made_last_and_names_every_package(tmp_path: Path) -> None:
    """The images' own command, about a small environment in the place of theirs."""
    asked = []
    for stage, installed in (("build", -1), ("build-full", -2)):
        last = FILE.stage(stage).all("RUN")[-1].text
        asked += re.findall(r"&& /opt/sbom/bin/cyclonedx-py (environment .*)$", last)
        assert "/opt/sbom/bin/pip install" in FILE.whole(stage).all("RUN")[installed].text
    assert len(asked) == 2
    (options,) = set(asked)
    *words, file, python = options.split()
    assert (file, python) == ("/opt/stackmac/sbom.cdx.json", "/opt/stackmac/bin/python")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "small")], check=True)
    (site_packages,) = (tmp_path / "small").glob("lib/python*/site-packages")
    for package in ("uvicorn", "h11", "click"):
        (found,) = Path(str(distribution(package).locate_file(""))).glob(f"{package}-*.dist-info")
        shutil.copytree(found, site_packages / found.name)
    command = [sys.executable, "-m", "cyclonedx_py", *words, str(tmp_path / "bill"), str(tmp_path / "small/bin/python")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(command, check=True, timeout=100, capture_output=True, env=environment)
    bill = json.loads((tmp_path / "bill").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {each["name"]: each["version"] for each in bill["components"]}
    assert listed == {package: version(package) for package in ("uvicorn", "h11", "click")}


def test_it_takes_nothing_from_elsewhere() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    images = {FILE.whole(stage.name).image for stage in FILE.stages}
    hosts = set(re.findall(r"https?://([^/\s\"]+)", text)) | {image.partition("/")[0] for image in images}
    assert hosts == PUBLIC_HOSTS


@pytest.mark.parametrize("image", [RUNTIME, FULL])
def test_it_runs_as_the_charts_user_and_opens_the_charts_ports(image: dockerfile.Stage) -> None:
    user, group = image.last("USER").words[0].split(":")
    assert (int(user), int(group)) == (
        VALUES["podSecurityContext"]["runAsUser"],
        VALUES["podSecurityContext"]["runAsGroup"],
    )
    assert int(user) > 0
    last_writing = max(i for i, each in enumerate(image.instructions) if each.name in ("COPY", "RUN", "ADD"))
    assert image.instructions.index(image.last("USER")) > last_writing, "files would belong to the user"
    ports = descriptor.make_descriptor()["messaging"]["ports"]
    assert sorted(map(int, image.last("EXPOSE").words)) == sorted(port["port"] for port in ports)


@pytest.mark.parametrize("image", [RUNTIME, FULL])
def test_it_starts_what_the_descriptor_starts(image: dockerfile.Stage) -> None:
    (container,) = descriptor.make_descriptor()["containers"]
    assert image.last("ENTRYPOINT").words == container["command"]
    assert image.last("CMD").words == container["args"]


def test_the_copied_files_suffice_to_build_the_package(tmp_path: Path) -> None:
    for source in copied():
        if (ROOT / source).is_dir():
            shutil.copytree(
                ROOT / source, tmp_path / source, ignore=lambda folder, names: left_out(Path(folder), names)
            )
        else:
            (tmp_path / source).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / source, tmp_path / source)
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "."], cwd=tmp_path, check=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for bundle in (ROOT / "policy" / "bundles").rglob("*.safetensors"):
        assert bundle.relative_to(ROOT).as_posix() in names
    scripts = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    assert f"{RUNTIME.last('ENTRYPOINT').words[0]} = " in scripts


def left_out(folder: Path, names: list[str]) -> list[str]:
    return [name for name in names if dockerfile.is_ignored((folder / name).relative_to(ROOT).as_posix(), IGNORED)]


def test_the_reader_finds_what_is_wrong() -> None:
    broken = dockerfile.parse(
        'ARG A=x\nFROM i:${A} AS one\nRUN echo $B \\\n  && true\nENV B=1\nRUN echo ${B}\nCMD ["a", "b"]\n'
    )
    (stage,) = broken.stages
    assert (stage.name, stage.image) == ("one", "i:x")
    assert dockerfile.undeclared(stage) == {"B"}
    above = dockerfile.parse("FROM i AS one\nENV A=1\nFROM one AS two\nRUN echo $A\n")
    assert [each.name for each in above.whole("two").instructions] == ["ENV", "RUN"]
    assert (above.whole("two").image, above.stage("two").image) == ("i", "one")
    assert stage.last("CMD").words == json.loads('["a", "b"]')
    with pytest.raises(ValueError, match="before FROM"):
        dockerfile.parse("RUN true\n")
    with pytest.raises(ValueError, match="no instruction"):
        dockerfile.parse("FROM x\nrun true\n")
