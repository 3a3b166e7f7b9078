"""A command's options as one frozen dataclass: what is typed, what is written down, and what makes a result again.

    @dataclass(frozen=True)
    class Options:
        cells: int = option(32, "Cells per world seed.", min=1)

    @command(app, "evaluate", Options)
    def evaluate_command(options: Options) -> int: ...

A field's name is the option's, its default the option's; typer's commands are made of the fields.
"""

from __future__ import annotations

import errno
import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from policy.errors import UserMistake

MAX_UES = 200
"""UEs per cell that a command takes."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""

Options = TypeVar("Options")
_FLAG, _TYPER, _ARGUMENT = "flag", "typer", "argument"
USERS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENOSPC, errno.EROFS)
"""Without a file's name: what the machine does not give, rather than what we did wrong."""


def option(default: Any = MISSING, help: str = "", flag: str = "", **limits: Any) -> Any:
    """A field that is typed as an option. default: none given = required. flag: its name, if not the field's.

    limits: min, max, metavar, as typer takes them.
    """
    return field(default=default, metadata={_FLAG: flag, _TYPER: {"help": help, **limits}})


def argument(help: str) -> Any:
    """A required field that is typed without a name."""
    return field(metadata={_ARGUMENT: True, _TYPER: {"help": help}})


def command(
    app: typer.Typer, name: str, options: type[Options], **settings: Any
) -> Callable[[Callable[[Options], int | None]], Callable[[Options], int | None]]:
    """Mount a function of one command's options into `app`. settings: as typer's `command` takes them."""

    def mount(run: Callable[[Options], int | None]) -> Callable[[Options], int | None]:
        def typed(**given: Any) -> int | None:
            try:
                return run(options(**given))
            except OSError as error:
                if error.filename is None and error.errno not in USERS_ERRORS:
                    raise
                raise UserMistake(str(error)) from error  # a file, directory or port that cannot be used

        parameters = list(_parameters(options))
        typed.__doc__ = run.__doc__
        typed.__name__ = run.__name__
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        typed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, **settings)(typed)
        return run

    return mount


def words_of(options: Any, leave_out: Iterable[str] = ()) -> list[str]:
    """What one would type for these options; what is not given is left out, and a default that is 0 or nothing."""
    words: list[str] = []
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name in leave_out or value is None or value == "" or (not value and value == one.default):
            continue
        if one.metadata.get(_ARGUMENT):
            words.append(str(value))
        elif isinstance(value, bool):
            words.append(_flag(one) if value else "--no-" + _flag(one)[2:])
        else:
            words += [_flag(one), str(value)]
    return words


def command_of(name: str, options: Any, leave_out: Iterable[str] = (), *rest: str) -> str:
    """The command that these options make. rest: words for what belongs to a machine, such as directories."""
    return " ".join([shlex.join(["stackmac", *name.split(), *words_of(options, leave_out)]), *rest])


# ---- lists that are typed as one word ----


def names_in(text: str) -> list[str]:
    """Comma-separated names, which may be none."""
    return [name.strip() for name in text.split(",") if name.strip()]


def some_names_in(flag: str, text: str) -> list[str]:
    """Comma-separated names, one at least. Raises UserMistake."""
    names = names_in(text)
    if not names:
        raise UserMistake(f"{flag} is {text!r}, expected names separated by commas")
    return names


def counts_in(flag: str, text: str, most: int | None = None) -> tuple[int, ...]:
    """Comma-separated counts, repeats kept. Raises UserMistake."""
    expected = f"counts from 1 to {most}" if most else "counts of 1 or more"
    counts = tuple(int(word) if word.strip().isdecimal() else 0 for word in text.split(","))
    if min(counts) < 1 or max(counts) > (most or max(counts)):
        raise UserMistake(f"{flag} is {text!r}, expected {expected}, separated by commas")
    return counts


def one_of(flag: str, value: str, known: Iterable[str]) -> None:
    """Raises UserMistake."""
    known = tuple(known)
    if value not in known:
        raise UserMistake(f"{flag} is {value!r}, expected one of {', '.join(known)}")


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(options)
    for one in fields(options):
        settings = dict(one.metadata[_TYPER])
        if one.metadata.get(_ARGUMENT):
            typed: Any = typer.Argument(**settings)
        else:
            # A switch that is off is not typed at all: it has no --no- form.
            is_switch = hints[one.name] is bool and one.default is False
            flag = one.metadata[_FLAG] or (_flag(one) if is_switch else "")
            typed = typer.Option(*([flag] if flag else []), **settings)
        default = inspect.Parameter.empty if one.default is MISSING else one.default
        yield inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[hints[one.name], typed]
        )


def _flag(one: Field[Any]) -> str:
    """The first of its names."""
    flag: str = one.metadata[_FLAG] or "--" + one.name.replace("_", "-")
    return flag.split("/")[0]
