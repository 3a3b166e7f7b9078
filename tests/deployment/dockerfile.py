"""A Dockerfile read into its stages, and which files a build may copy: enough to check ours without an engine."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

VARIABLE = re.compile(r"\$\{(\w+)\}|\$(\w+)")


class Instruction(NamedTuple):
    name: str
    options: dict[str, str]
    """--key=value in front of the words."""
    words: list[str]
    text: str
    """All behind the name, in one line."""


class Stage(NamedTuple):
    name: str
    image: str
    instructions: list[Instruction]

    def all(self, name: str) -> list[Instruction]:
        return [each for each in self.instructions if each.name == name]

    def last(self, name: str) -> Instruction:
        return self.all(name)[-1]


class Dockerfile(NamedTuple):
    arguments: dict[str, str]
    """ARG in front of the first stage: FROM alone sees them."""
    stages: list[Stage]

    def stage(self, name: str) -> Stage:
        (found,) = (stage for stage in self.stages if stage.name == name)
        return found

    def whole(self, name: str) -> Stage:
        """A stage with all that it takes over from the stages it is built on; its image is the first one's."""
        stage = self.stage(name)
        if stage.image not in {each.name for each in self.stages}:
            return stage
        below = self.whole(stage.image)
        return Stage(name, below.image, [*below.instructions, *stage.instructions])


def parse(text: str) -> Dockerfile:
    """Raises ValueError for an instruction before the first FROM that is no ARG, or a name that is none."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    file = Dockerfile({}, [])
    for line in re.sub(r"\\\n", " ", lines).splitlines():
        if not line.strip():
            continue
        instruction = _instruction(line)
        if instruction.name == "FROM":
            image, name = instruction.words[0], instruction.words[2] if len(instruction.words) > 2 else ""
            file.stages.append(Stage(name, substitute(image, file.arguments), []))
        elif file.stages:
            file.stages[-1].instructions.append(instruction)
        elif instruction.name == "ARG":
            name, _, default = instruction.text.partition("=")
            file.arguments[name] = default
        else:
            raise ValueError(f"{instruction.name} before FROM")
    return file


def _instruction(line: str) -> Instruction:
    name, _, rest = line.strip().partition(" ")
    if not re.fullmatch(r"[A-Z]+", name):
        raise ValueError(f"{name!r} is no instruction")
    rest = rest.strip()
    words, options = rest.split(), {}
    while words and words[0].startswith("--") and name in ("ADD", "COPY", "FROM"):
        key, _, value = words.pop(0)[2:].partition("=")
        options[key] = value
    if rest.startswith("["):
        words = json.loads(rest)
    return Instruction(name, options, words, rest)


def substitute(text: str, values: dict[str, str]) -> str:
    return VARIABLE.sub(lambda match: values[match[1] or match[2]], text)


def undeclared(stage: Stage) -> set[str]:
    """Variables that a stage uses without having declared them (by ARG or ENV) before; PATH is the image's."""
    known, missing = {"PATH"}, set()
    for instruction in stage.instructions:
        missing |= {match[1] or match[2] for match in VARIABLE.finditer(instruction.text)} - known
        if instruction.name in ("ARG", "ENV"):
            known |= {word.partition("=")[0] for word in instruction.words}
    return missing


def is_ignored(path: str, patterns: list[str]) -> bool:
    """Whether .dockerignore keeps a path (relative, with /) out of the build: the last pattern that matches decides."""
    parts = path.split("/")
    ancestors = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    ignored = False
    for pattern in patterns:
        wanted = pattern.removeprefix("!")
        if any(_matches(ancestor, wanted) for ancestor in ancestors):
            ignored = not pattern.startswith("!")
    return ignored


def _matches(path: str, pattern: str) -> bool:
    if pattern.startswith("**/"):
        return _matches(path, pattern[3:]) or any(_matches(path[i + 1 :], pattern[3:]) for i in _slashes(path))
    return path.count("/") == pattern.count("/") and fnmatchcase(path, pattern)


def _slashes(path: str) -> list[int]:
    return [i for i, letter in enumerate(path) if letter == "/"]


def ignore_patterns(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]
