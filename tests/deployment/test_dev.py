"""`./dev` on machines of many kinds: which Python it takes, what it asks for, which torch. Its Pythons here are fakes.

A fake answers what the script asks an interpreter, makes a "virtual environment" with itself in it, and notes what pip
is told to install. Only the question what an index has goes to the real pip, where that is what a test is about; else
no index answers.
"""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from xapp.platform.libraries import ADD_COMMAND

ROOT = Path(__file__).parents[2]
TOOLS = ["bash", "cat", "cp", "dirname", "env", "find", "flock", "grep", "ln", "mkdir", "readlink", "rm", "sha256sum"]
TOOLS += ["sort", "tail", "uname"]
TORCH = next(
    line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line.startswith("torch==")
)
FAKE_PYTHON = f"""#!{shutil.which("bash")}
case "$*" in
"-c "*_base_executable*) [[ $3 == MINOR ]] && echo "$0" ;;
"-c "*'version("torch")'*) [[ -n ${{TORCH_THERE:-}} ]] && echo "$TORCH_THERE" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/stackmac" ;;
"-m pip index "*) [[ -z ${{REAL_PIP:-}} ]] && exit 1; exec {sys.executable} "$@" ;;
"-m pip_audit "*|"-m bandit "*) echo "$*"; exit "${{FOUND:-0}}" ;;
"-m pip install "*) echo "$*" >>"$PIP_CALLS" ;;
"-m pytest "*) echo "bytecode: ${{PYTHONDONTWRITEBYTECODE:-kept}}" ;;
-V) echo "Python 3.MINOR.0" ;;
esac
"""


class Result(NamedTuple):
    status: int
    out: str
    error: str


class Machine:
    """A checkout, and a path on which nothing is but what the script calls and what a test puts there."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.bin, self.home = folder / "checkout", folder / "bin", folder / "home"
        for made in (self.checkout, self.bin, self.home):
            made.mkdir()
        for name in ("dev", "setup.py", "constraints.txt", "requirements-run.txt"):
            shutil.copy(ROOT / name, self.checkout)
        shutil.copytree(ROOT / "tools", self.checkout / "tools")
        for name in TOOLS:
            found = shutil.which(name)
            if found:
                (self.bin / name).symlink_to(found)
        self.put("nvidia-smi", "exit 9")
        self.put("redis-server", "exit 0")
        self.put("sudo", "exit 1")
        self.put("apt-get", "exit 100")
        self.os_release = folder / "os-release"
        self.calls = folder / "pip-calls"
        self.environment: dict[str, str] = {"TORCH_INDEX": "http://127.0.0.1:9/no-index"}

    def put(self, name: str, script: str) -> None:
        path = self.bin / name
        path.write_text(script if script.startswith("#!") else f"#!{shutil.which('bash')}\n{script}\n")
        path.chmod(0o755)

    def put_python(self, minor: int, where: Path | None = None) -> None:
        path = (where or self.bin) / f"python3.{minor}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(FAKE_PYTHON.replace("MINOR", str(minor)))
        path.chmod(0o755)

    def dev(self, *arguments: str) -> Result:
        environment = {
            "PATH": str(self.bin),
            "HOME": str(self.home),
            "OS_RELEASE": str(self.os_release),
            "PIP_CALLS": str(self.calls),
            "PIP_CONFIG_FILE": os.devnull,
            **self.environment,
        }
        command = [str(self.bin / "bash"), str(self.checkout / "dev"), *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
        return Result(done.returncode, done.stdout, done.stderr)

    def set_up(self, *arguments: str) -> str:
        result = self.dev(*arguments, "setup")
        assert (result.status, result.error) == (0, "")
        return result.out

    def pip_calls(self) -> list[str]:
        return self.calls.read_text().splitlines()

    def environments(self) -> list[str]:
        return sorted(path.name for path in self.checkout.glob(".venv-*"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def cpu_index(machine: Machine) -> Iterator[list[str]]:
    """An index on which there is a CPU build of torch; the paths that it was asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            name = f"{TORCH.replace('==', '-')}%2Bcpu-py3-none-any.whl"
            page = f'<!DOCTYPE html><html><body><a href="{name}">{name}</a></body></html>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    machine.environment |= {"TORCH_INDEX": f"http://127.0.0.1:{server.server_port}/cpu", "REAL_PIP": "yes"}
    yield asked
    server.shutdown()
    thread.join()
    server.server_close()


DISTRIBUTIONS = {
    'ID=debian\nVERSION_CODENAME=bookworm\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"': "11",
    'ID=debian\nVERSION_CODENAME=trixie\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"': "13",
    'ID=ubuntu\nVERSION_CODENAME=jammy\nUBUNTU_CODENAME=jammy\nPRETTY_NAME="Ubuntu 22.04.5 LTS"': "11",
    'ID=ubuntu\nVERSION_CODENAME=noble\nUBUNTU_CODENAME=noble\nPRETTY_NAME="Ubuntu 24.04.3 LTS"': "12",
    'ID=ubuntu\nVERSION_CODENAME=resolute\nUBUNTU_CODENAME=resolute\nPRETTY_NAME="Ubuntu 26.04 LTS"': "14",
    'ID=linuxmint\nVERSION_CODENAME=xia\nUBUNTU_CODENAME=noble\nPRETTY_NAME="Linux Mint 22.1"': "12",
}


@pytest.mark.parametrize(("os_release", "minor"), DISTRIBUTIONS.items())
def test_a_machine_without_a_python_is_told_what_its_distribution_calls_it(
    machine: Machine, os_release: str, minor: str
) -> None:
    machine.os_release.write_text(os_release)
    result = machine.dev("demo")
    assert result.status == 2
    (line,) = result.error.splitlines()
    packages = line.partition("please run: sudo apt-get update && sudo apt-get install -y ")[2].split()
    assert packages[:2] == [f"python3.{minor}", f"python3.{minor}-venv"]
    assert ("python3.11-dev" in packages) == (minor == "11")  # there, one package has to be compiled


@pytest.mark.parametrize("os_release", ['ID=fedora\nPRETTY_NAME="Fedora Linux 44"', "", None])
def test_on_another_distribution_too(machine: Machine, os_release: str | None) -> None:
    if os_release is not None:
        machine.os_release.write_text(os_release)
    result = machine.dev("demo")
    name = "Fedora Linux 44" if os_release else "this system"
    assert result == (
        2,
        "",
        f"dev: no Python from 3.11 to 3.14 is here; please install one on {name} (pyenv and uv can)\n",
    )


def test_an_older_python_does_not_count(machine: Machine) -> None:
    machine.os_release.write_text('ID=debian\nVERSION_CODENAME=bullseye\nPRETTY_NAME="Debian GNU/Linux 11 (bullseye)"')
    machine.put_python(9)
    assert "Debian GNU/Linux 11" in machine.dev("demo").error


def test_the_newest_that_runs_is_taken(machine: Machine) -> None:
    machine.put_python(11)
    machine.put_python(12)
    machine.put("python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    assert "Python 3.12.0" in machine.set_up()
    assert os.readlink(machine.checkout / ".venv") == ".venv-3.12"


def test_each_python_has_an_environment_that_stays(machine: Machine) -> None:
    for minor in (12, 13):
        machine.put_python(minor)
    machine.set_up()
    machine.set_up("--python", "3.12")
    assert machine.environments() == [".venv-3.12", ".venv-3.13"]
    assert os.readlink(machine.checkout / ".venv") == ".venv-3.13"
    calls = machine.pip_calls()
    assert machine.set_up() == machine.set_up("--python", "3.12") == ""
    assert machine.pip_calls() == calls
    with (machine.checkout / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert "updating .venv-3.13" in machine.set_up()


def installs_torch(calls: list[str]) -> bool:
    return any("torch" in call for call in calls)


def installs_the_run_set(calls: list[str]) -> bool:
    return any(call.endswith("requirements-run.txt") for call in calls)


def test_the_demo_installs_what_running_needs_and_another_command_adds_the_rest(machine: Machine) -> None:
    machine.put_python(13)
    demo = machine.dev("demo")
    assert (demo.status, demo.error) == (0, "")
    first = machine.pip_calls()
    assert installs_the_run_set(first) and not installs_torch(first) and not any("[train,dev]" in c for c in first)
    again = machine.dev("demo")
    assert again.out == "" and machine.pip_calls() == first

    (machine.checkout / ".venv-3.13" / "kept").touch()
    assert "adding to .venv-3.13 what the demo does without" in machine.set_up()
    added = machine.pip_calls()[len(first) :]
    assert installs_torch(added) and any("[train,dev]" in call for call in added)
    assert (machine.checkout / ".venv-3.13" / "kept").exists()
    assert machine.dev("demo").out == machine.set_up() == ""
    assert machine.pip_calls() == [*first, *added]


@pytest.mark.parametrize("changed", ["setup.py", "constraints.txt", "requirements-run.txt"])
def test_a_change_of_what_is_wanted_updates_the_demos_environment(machine: Machine, changed: str) -> None:
    machine.put_python(13)
    machine.set_up()
    with (machine.checkout / changed).open("a") as file:
        file.write("# changed\n")
    calls = len(machine.pip_calls())
    assert "updating .venv-3.13" in machine.dev("demo").out
    assert not installs_torch(machine.pip_calls()[calls:])
    assert "adding to .venv-3.13" in machine.set_up()


def test_the_demo_needs_no_redis_server(machine: Machine) -> None:
    machine.put_python(13)
    (machine.bin / "redis-server").unlink()
    assert machine.dev("demo").status == 0
    assert machine.dev("setup").status == 2


def test_an_environment_of_the_old_kind_makes_room(machine: Machine) -> None:
    (machine.checkout / ".venv" / "bin").mkdir(parents=True)
    machine.put_python(13)
    machine.set_up()
    assert (machine.checkout / ".venv" / "bin" / "python").exists()


def test_a_moved_checkout_gets_a_new_environment(machine: Machine) -> None:
    machine.put_python(13)
    machine.set_up()
    moved = machine.checkout.rename(machine.checkout.with_name("moved"))
    (moved / ".venv-3.13" / "left over").touch()
    machine.checkout = moved
    machine.set_up()
    assert not (moved / ".venv-3.13" / "left over").exists()


def test_what_pyenv_keeps_is_found_where_nothing_else_is_or_it_is_asked_for(machine: Machine) -> None:
    machine.put_python(11)
    machine.put_python(13, machine.home / ".pyenv" / "versions" / "3.13.2" / "bin")
    machine.put_python(12, machine.home / ".local" / "share" / "uv" / "python" / "cpython-3.12.9-linux" / "bin")
    assert "Python 3.13.0" in machine.set_up("--python", "3.13")
    assert "Python 3.12.0" in machine.set_up("--python", "3.12")
    (machine.bin / "python3.11").unlink()
    machine.set_up()
    assert os.readlink(machine.checkout / ".venv") == ".venv-3.13"


@pytest.mark.parametrize("value", ["3.10", "3", "3.13.0", ""])
def test_a_python_that_is_not_supported_is_refused(machine: Machine, value: str) -> None:
    line = f"dev: --python is '{value}'; it has to be one of 3.14 3.13 3.12 3.11\n"
    assert machine.dev("--python", value, "demo") == (2, "", line)


def test_a_python_that_is_asked_for_and_not_here_is_named(machine: Machine) -> None:
    machine.put_python(13)
    machine.os_release.write_text("VERSION_CODENAME=trixie")
    line = "dev: Python 3.12 is not here; please install it (pyenv and uv can)\n"
    assert machine.dev("--python", "3.12", "demo") == (2, "", line)


def test_torch_is_the_cpu_build_where_no_nvidia_driver_is_and_the_index_answers(
    machine: Machine, cpu_index: list[str]
) -> None:
    machine.put_python(13)
    assert "the CPU build, no NVIDIA driver is here" in machine.set_up()
    (call,) = (call for call in machine.pip_calls() if call.endswith(TORCH))
    assert f"--no-deps --index-url {machine.environment['TORCH_INDEX']}" in call
    assert cpu_index == ["/cpu/torch/"]


def test_torch_is_the_default_build_where_the_cpu_index_does_not_answer(machine: Machine) -> None:
    machine.put_python(13)
    machine.environment["REAL_PIP"] = "yes"
    assert "no CPU build is to be had from http://127.0.0.1:9/no-index" in machine.set_up()
    (call,) = (call for call in machine.pip_calls() if call.endswith(TORCH))
    assert "--index-url" not in call and "--no-deps" not in call


def test_torch_is_the_default_build_for_an_nvidia_driver(machine: Machine, cpu_index: list[str]) -> None:
    machine.put_python(13)
    machine.put("nvidia-smi", "exit 0")
    assert "for the NVIDIA driver" in machine.set_up()
    (call,) = (call for call in machine.pip_calls() if call.endswith(TORCH))
    assert "--index-url" not in call
    assert cpu_index == []


def test_a_torch_that_is_there_stays(machine: Machine, cpu_index: list[str]) -> None:
    machine.put_python(13)
    machine.environment["TORCH_THERE"] = f"{TORCH.removeprefix('torch==')}+cu130"
    assert "+cu130: is there already" in machine.set_up()
    assert not [call for call in machine.pip_calls() if call.endswith(TORCH)]


def test_the_platforms_libraries_come_without_their_pins_where_those_cannot_be_met(machine: Machine) -> None:
    added = ADD_COMMAND.removeprefix("pip install ")
    machine.put("apt-get", "exit 0")  # 3.11 may need a compiler that is not here
    machine.put("sudo", 'shift; exec "$@"')
    for minor, wanted in ((11, 0), (12, 1), (13, 1), (14, 1)):
        machine.put_python(minor)
        machine.calls.unlink(missing_ok=True)
        machine.set_up("--python", f"3.{minor}")
        assert sum(call.endswith(added) for call in machine.pip_calls()) == wanted


def test_an_audit_asks_about_every_pin_and_fails_for_what_it_finds_or_cannot_ask_about(machine: Machine) -> None:
    machine.put_python(13)
    machine.set_up()
    asked = machine.dev("audit", "--format", "json")
    assert asked.status == 0
    words = asked.out.split()
    assert words[:3] == ["-m", "pip_audit", "--strict"] and words[-2:] == ["--format", "json"]
    assert words[words.index("-r") + 1] == str(machine.checkout / "constraints.txt")
    machine.environment["FOUND"] = "1"
    assert machine.dev("audit").status == 1


def test_lint_looks_for_what_is_unsafe(machine: Machine) -> None:
    machine.put_python(13)
    machine.set_up()
    for tool in ("ruff", "mypy", "lint-imports"):
        script = machine.checkout / ".venv-3.13" / "bin" / tool
        script.write_text(f"#!{shutil.which('bash')}\n")
        script.chmod(0o755)
    looked = machine.dev("lint")
    assert (looked.status, looked.error) == (0, "")
    assert "-m bandit -q -c pyproject.toml -r policy training xapp tools setup.py" in looked.out
    machine.environment["FOUND"] = "1"
    assert machine.dev("lint").status == 1


def test_bytecode_is_kept_whatever_the_environment_says(machine: Machine) -> None:
    machine.put_python(12)
    machine.environment["PYTHONDONTWRITEBYTECODE"] = "1"
    result = machine.dev("test", "tests/policy")
    assert (result.status, result.out.splitlines()[-1]) == (0, "bytecode: kept"), result.error
