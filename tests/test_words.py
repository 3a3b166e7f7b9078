"""The field's words in code: none of the private ones that they replaced is an identifier (docs/glossary.md)."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("policy", "training", "xapp")
WORDS = frozenset(
    [
        "speech",
        "speaking",
        "narrator",
        "script",
        "scripts",
        "said",
        "say",
        "says",
        "told",
        "tell",
        "tells",
        "heard",
        "hears",
        "spoken",
        "speak",
        "gained",
        "worth",
        "moved",
        "stretch",
        "stretches",
        "fork",
        "forks",
        "cue",
        "cues",
        "odds",
        "ledger",
        "ledgers",
        "situation",
        "situations",
        "arena",
        "arenas",
        "lesson",
        "lessons",
        "grounds",
        "tap",
        "taps",
        "settle",
        "settles",
        "trail",
        "trails",
        "intake",
        "chore",
        "chores",
        "housekeeping",
        "lane",
        "lanes",
        "overview",
        "succession",
        "pace",
    ]
)
"""Parts of identifiers, in lower case."""
WHOLE = frozenset({"Line", "Feed", "Basis", "Moment"})
"""Classes whose name is an ordinary word otherwise."""
PHRASES = ("stand_back", "stands_back", "standing_back", "step_forward")
WIRE = "a field of the wire (xapp/e2/dcm/dcm.proto) or a recording"
WEIGHT = "a weight's name in bundles"
TORCH = "torch.random.fork_rng"
ALLOWED: dict[str, dict[str, str]] = {
    "training/critic.py": {"fork": TORCH},
    "policy/engine/": {"lane": "SIMD lanes", "lanes": "SIMD lanes"},
    "policy/follower.py": {"fork": TORCH},
    "policy/leader_models/encoder_model.py": {"heard": WEIGHT},
    "policy/leader_models/heads.py": {"heard": WEIGHT, "situation": WEIGHT},
    "policy/leader_models/language_model.py": {"fork": TORCH},
    "policy/model_kinds.py": {"fork": TORCH},
    "policy/text/model.py": {"fork": TORCH},
    "training/learning/leader_critic.py": {"fork": TORCH},
    "xapp/control/cell_tracker.py": {"heard": WIRE, "pace": "of a node's measurements"},
    "xapp/control/measurement_pace.py": {"pace": "of a node's measurements"},
    "xapp/e2/dcm/": {"heard": WIRE},
    "xapp/nodes/report_check.py": {"pace": "of a node's measurements"},
}
"""File, or folder with a slash at its end -> word -> why it may stand there."""


def _parts(name: str) -> set[str]:
    """`MeasurementPace` and `measurement_pace` are measurement and pace."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def _private(name: str) -> set[str]:
    found = _parts(name) & WORDS
    found |= {phrase for phrase in PHRASES if phrase in name}
    return found | ({name} if name in WHOLE else set())


def _identifiers(path: Path) -> dict[str, int]:
    """Name -> the first line that it stands on."""
    found: dict[str, int] = {}
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type == tokenize.NAME and not keyword.iskeyword(token.string):
            found.setdefault(token.string, token.start[0])
    return found


def _allowed(name: str) -> set[str]:
    places = [place for place in ALLOWED if name == place or (place.endswith("/") and name.startswith(place))]
    return {word for place in places for word in ALLOWED[place]}


SOURCES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_no_identifier_is_one_of_the_words_that_were_replaced(package: str) -> None:
    wrong: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        name = str(path.relative_to(ROOT))
        if name.startswith(f"{package}/"):
            for identifier, line in _identifiers(path).items():
                if words := _private(identifier) - _allowed(name):
                    wrong[name].append(f"{line}: {identifier} ({', '.join(sorted(words))})")
    assert not wrong, "\n".join(f"{name}:{each}" for name, found in wrong.items() for each in found)


def test_what_is_allowed_is_needed() -> None:
    for place, words in ALLOWED.items():
        there: set[str] = set()
        for path in SOURCES:
            if f"{path.relative_to(ROOT)}".startswith(place):
                there = there.union(*map(_private, _identifiers(path)))
        assert set(words) <= there, f"{place}: {sorted(set(words) - there)}"
