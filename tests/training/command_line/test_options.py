"""A command's options are one dataclass: what is typed comes back as it, and it makes the command again."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from policy.errors import UserMistake
from training.command_line.options import argument, command, command_of, option
from training.command_line.values import counts_in, names_in, one_of
from xapp.cli import main


@dataclass(frozen=True)
class Options:
    name: str = argument("Which.")
    cells: int = option(help="How many.", min=1)
    share: float | None = option(None, "Of something.", "--cell-share")
    resume: bool = option(False, "Go on.")
    alternate: bool | None = option(None, "In turn.")
    scenario: str = option("mix", "Where.")
    player: tuple[str, ...] = option((), "Who.")
    files: tuple[Path, ...] = argument("What of it.", ())


def typed(words: list[str]) -> Options:
    """What a command gets that is typed so."""
    app, got = typer.Typer(), []

    @command(app, "play", Options)
    def play(options: Options) -> None:
        """Play."""
        got.append(options)

    typer.main.get_command(app).main(args=words, prog_name="play", standalone_mode=False)
    return got[0]


OPTIONS = st.builds(
    Options,
    name=st.sampled_from(["a", "b c"]),
    cells=st.integers(1, 9),
    share=st.none() | st.floats(0, 1),
    resume=st.booleans(),
    alternate=st.none() | st.booleans(),
    scenario=st.sampled_from(["mix", "lab", "a,b", ""]),
    player=st.tuples() | st.tuples(st.just("a=b"), st.just("c d")),
    files=st.tuples() | st.tuples(st.just(Path("e")), st.just(Path("f"))),
)


@dataclass(frozen=True)
class Untypeable:
    player: tuple[str, ...] = option(("us",), "Who.")
    fair: bool = option(True, "Whether.", "--fair")


@pytest.mark.parametrize("options", [Untypeable(player=()), Untypeable(fair=False)])
def test_what_nobody_can_type_is_not_left_out_in_silence(options: Untypeable) -> None:
    with pytest.raises(ValueError, match="cannot be typed"):
        command_of("play", options)
    assert command_of("play", Untypeable()) == "stackmac play --player us --fair"


@given(OPTIONS)
def test_the_command_that_options_make_is_typed_as_the_same_options(options: Options) -> None:
    program, verb, *words = shlex.split(command_of("play", options))
    assert (program, verb) == ("stackmac", "play")
    assert typed(words) == options


def test_no_command_declares_its_options_in_another_way() -> None:
    root = Path(__file__).parents[3]
    modules = [path for name in ("policy", "training", "xapp") for path in (root / name).rglob("*.py")]
    modules.remove(root / "training/command_line/options.py")
    assert len(modules) > 100
    by_hand = ("typer.Option", "typer.Argument", "_app.command(")
    assert [str(path) for path in modules if any(word in path.read_text(encoding="utf-8") for word in by_hand)] == []


def test_what_belongs_to_a_machine_is_left_out() -> None:
    options = Options("a", 3, share=0.5, resume=True, alternate=False)
    made = command_of("play", options, ("resume", "share"), "--out DIR")
    assert made == "stackmac play a --cells 3 --no-alternate --scenario mix --out DIR"


@pytest.mark.parametrize("text", ["", "0", "3,few", "3,-1", "1.5", "3,201", "²", "7" * 5000])
def test_counts_are_counts(text: str) -> None:
    with pytest.raises(UserMistake, match=f"--ues is '{text[:60]}'[.]*, expected counts from 1 to 200"):
        counts_in("--ues", text, 200)


def test_lists_are_comma_separated() -> None:
    assert counts_in("--ues", "3, 4,4", 4) == (3, 4, 4)
    assert names_in(" mix, lab ,") == ["mix", "lab"]
    one_of("--rule", "obey", ["obey"])
    with pytest.raises(UserMistake, match="--rule is 'x', expected one of obey, best"):
        one_of("--rule", "x", ["obey", "best"])


def test_a_mistake_is_one_line_and_a_programming_error_keeps_its_trace_back(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["scenarios", "maze"]) == 2
    assert capsys.readouterr().err.startswith("stackmac scenarios: unknown scenario 'maze'")

    def broken(name: str) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr("training.simulator.scenario.make_scenario", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["scenarios", "mix"])


def test_a_directory_that_cannot_be_used_is_a_mistake(tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["warm-start", "--scenario", "mix", "--out", str(tmp_path / "file" / "run"), "--steps", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()  # no bar of what was not begun
    assert line.startswith("stackmac warm-start: ") and "Not a directory" in line
