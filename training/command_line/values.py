"""Values that are typed as one word: lists, names of a set. Each mistake names value and range."""

from __future__ import annotations

from collections.abc import Iterable

from policy.errors import UserMistake

MAX_UES = 200
"""UEs per cell that a command takes."""
MAX_SHOWN = 60
"""Characters of a wrong value that a message repeats."""


def names_in(text: str) -> list[str]:
    """Comma-separated names, which may be none."""
    return [name.strip() for name in text.split(",") if name.strip()]


def some_names_in(flag: str, text: str) -> list[str]:
    """Comma-separated names, one at least. Raises UserMistake."""
    names = names_in(text)
    if not names:
        raise UserMistake(f"{flag} is {text!r}, expected names separated by commas")
    return names


def counts_in(flag: str, text: str, most: int) -> tuple[int, ...]:
    """Comma-separated counts, repeats kept. Raises UserMistake."""
    words = [word.strip() for word in text.split(",")]
    # Python refuses to read thousands of digits.
    counts = tuple(int(word) if word.isdecimal() and len(word) <= len(str(most)) else 0 for word in words)
    if min(counts) < 1 or max(counts) > most:
        raise UserMistake(f"{flag} is {_short(text)}, expected counts from 1 to {most}, separated by commas")
    return counts


def one_of(flag: str, value: str, known: Iterable[str]) -> None:
    """Raises UserMistake."""
    known = tuple(known)
    if value not in known:
        raise UserMistake(f"{flag} is {value!r}, expected one of {', '.join(known)}")


def goes_with(flag: str, value: object, unset: object, needed: str, there: object) -> None:
    """Refuse an option that does nothing without another one. unset: its default. Raises UserMistake."""
    if value != unset and not there:
        typed = f"--no-{flag[2:]}" if value is False else flag if value is True else f"{flag} {value}"
        raise UserMistake(f"{typed} without {needed}: it would have no effect")


def _short(text: str) -> str:
    return repr(text) if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]!r}..."
