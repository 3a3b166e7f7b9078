"""README and docs: every command in them has the options that it is shown with, the cheap ones run, links lead on."""

from __future__ import annotations

import importlib
import re
import shlex
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from policy.shipped import EXPIRED
from xapp.cli import BENCH_TRAINING, COMMANDS, main
from xapp.control.control_loop import INTENT
from xapp.leader import reasons

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
README_WORDS = 1000
KEPT = {"lab.rec": "tests/xapp/record/recordings/rc.jsonl", "FILE": "tests/xapp/record/recordings/rc.jsonl"}
"""Recordings that stand in for those of the pages."""
PLACEHOLDER = re.compile(
    r"\b(?:DIR\d?(?:_OR_ID)?|FILE|OUT|URL|NAME|TYPE|HEX|S|MEDIATOR|HOST|PORT|SECONDS|DEPLOYMENT)\b|\.\.\."
)
NOT_CHEAP = {
    "bench", "demo", "doctor", "evaluate", "experiment", "exploit", "gnb", "guard",
    "guard-lab", "lab", "ric", "run", "soak", "train",
    "train-followers", "tune", "warm-start",
}  # fmt: skip
"""Commands that need a platform, or more than a second or two. Of all others every example that is complete runs."""


class Example(NamedTuple):
    """A command as a page shows it."""

    page: str
    words: tuple[str, ...]
    """Without `stackmac`."""


def _commands(text: str) -> list[str]:
    """`stackmac ...` in code blocks and in running text, joined where a line was wrapped."""
    found = []
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    blocks += [re.sub(r"^    ", "", block, flags=re.MULTILINE) for block in re.findall(r"(?:^    .*\n)+", text, re.M)]
    for block in blocks:
        for line in block.replace("\\\n", "").splitlines():
            if match := re.match(r"\s*(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?stackmac (.*)", line):
                found.append(match[1])
    running = re.sub(r"^```[a-z]*\n.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found += [" ".join(code.split()) for code in re.findall(r"`stackmac ([^`]*)`", running)]
    return found


def _words(command: str) -> tuple[str, ...]:
    """As a shell would split it, up to a comment, a pipe or a redirection."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars="|><;&")
    lexer.whitespace_split, lexer.commenters = True, "#"
    words = []
    for word in lexer:
        if set(word) <= set("|><;&"):
            break
        words.append(word)
    return tuple(words)


EXAMPLES = sorted(
    {
        Example(str(page.relative_to(ROOT)), words)
        for page in PAGES
        for command in _commands(page.read_text(encoding="utf-8"))
        if (words := _words(command)) and words[0] in COMMANDS
    }
)


@cache
def _help(*command: str) -> str:
    """What `--help` of a command says, from the parser itself: terminals wrap it."""
    import typer.main

    place = BENCH_TRAINING if command == ("bench", "training") else COMMANDS[command[0]][0]
    module, attribute = place.split(":")
    found = typer.main.get_command(getattr(importlib.import_module(module), attribute))
    for name in command[1:]:
        found = getattr(found, "commands", {}).get(name, found)
    return " ".join(option for param in found.params for option in (*param.opts, *param.secondary_opts)) + " --help"


def _command_of(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command and, where it has any, its subcommand."""
    return words[:2] if words[0] in ("e2", "intent", "bench", "guard", "results") and len(words) > 1 else words[:1]


def test_there_are_examples_of_most_commands() -> None:
    shown = {example.words[0] for example in EXAMPLES}
    assert len(EXAMPLES) > 50
    assert shown == set(COMMANDS)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example.page}: {' '.join(example.words)[:70]}")
def test_every_option_of_an_example_exists(example: Example) -> None:
    known = set(_help(*_command_of(example.words)).split())
    for word in example.words[1:]:
        if word.startswith("--"):
            assert word.split("=")[0] in known, f"{example.page}: stackmac {' '.join(example.words)}"


def test_every_option_that_stands_alone_exists_somewhere() -> None:
    """`--option` in running text, without a command before it."""
    known = {option for name in COMMANDS for option in _help(name).split()}
    known |= {
        o
        for c in (("e2", "decode"), ("e2", "encode"), ("bench", "training"), ("results", "merge"))
        for o in _help(*c).split()
    }
    known |= {o for name in ("validate", "show", "put") for o in _help("intent", name).split()}
    for page in PAGES:
        for option in re.findall(r"`(--[a-z0-9-]+)[^`]*`", page.read_text(encoding="utf-8")):
            assert option in known | OTHERS, f"{page.name}: {option}"


OTHERS = {"--python", "--sctp", "--write"}
"""Options of `./dev` and of `python -m xapp.packaging...`."""


def _as_it_runs(example: Example) -> tuple[str, ...] | None:
    """A cheap example, a kept recording in place of the page's; None for what is dear or only names a command."""
    name = example.words[0]
    words = tuple(KEPT.get(word, word) if name == "replay" else word for word in example.words)
    whole = len(words) >= FEWEST_WORDS.get(name, 1)
    return words if whole and name not in NOT_CHEAP and not PLACEHOLDER.search(" ".join(words[1:])) else None


FEWEST_WORDS = {"e2": 4, "intent": 3, "replay": 2, "explain": 4}
"""`stackmac e2 decode` names a command; it is none."""
CHEAP = sorted({words for example in EXAMPLES if (words := _as_it_runs(example))})


@pytest.mark.parametrize("words", CHEAP, ids=lambda words: " ".join(words)[:70])
def test_cheap_commands_run(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert main(list(words)) == 0


def test_every_cheap_command_is_among_them() -> None:
    assert {words[0] for words in CHEAP} >= {"e2", "intent", "replay", "scenarios"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]+))?\)", page.read_text(encoding="utf-8")):
        file = (page.parent / target) if target else page
        assert file.exists(), target
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), f"{target}#{anchor}"


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= README_WORDS


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert [page.name for page in PAGES[1:] if page.name != "README.md" and f"]({page.name})" not in index] == []


def test_the_labs_page_lists_every_reason_of_a_fallback() -> None:
    page = (ROOT / "docs" / "lab.md").read_text(encoding="utf-8")
    (listed,) = re.findall(r"`fallback:` and a\s+reason: (.*?)\), `controls_sent`", page, re.DOTALL)
    known = {value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)}
    # When the xApp stops nothing is decided any more.
    assert set(re.findall(r"`([a-z_]+)`", listed)) == known - {reasons.CLOSED} | {EXPIRED, INTENT}


def test_the_tasks_of_the_contributing_page_name_things_that_are_there() -> None:
    """Each row of its table: the name in backticks stands in the file."""
    page = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| (.*) \| \[`(.*?)`\]\(\.\./(.*?)\) \|$", page, re.MULTILINE)
    assert len(rows) >= 8
    for what, shown, path in rows:
        assert shown == path
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in re.findall(r"`(\w+)`", what):
            assert re.search(rf"^(?:def |class )?{name}\b", source, re.MULTILINE), f"{path}: {name}"
