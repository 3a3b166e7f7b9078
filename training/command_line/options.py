"""A command's options as one frozen dataclass: what is typed, what is written down, and what makes a result again.

    @dataclass(frozen=True)
    class Options:
        cells: int = option(32, "Cells per world seed.", min=1)

    @command(app, "evaluate", Options)
    def evaluate_command(options: Options) -> int: ...

A field's name is the option's, its default the option's; typer's commands are made of the fields. A field that is a
tuple is typed several times.
"""

from __future__ import annotations

import errno
import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import MISSING, Field, field, fields
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import typer

from policy.errors import UserMistake

Options = TypeVar("Options")
_FLAG, _TYPER, _ARGUMENT = "flag", "typer", "argument"
USERS_ERRORS = (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES, errno.ENOSPC, errno.EROFS)
"""Without a file's name: what the machine does not give, rather than what we did wrong."""


def option(default: Any = MISSING, help: str = "", flag: str = "", **limits: Any) -> Any:
    """A field that is typed as an option. default: none given = required. flag: its name, if not the field's.

    limits: min, max, metavar, as typer takes them.
    """
    return field(default=default, metadata={_FLAG: flag, _TYPER: {"help": help, **limits}})


def argument(help: str, default: Any = MISSING, **limits: Any) -> Any:
    """A field that is typed without a name. default: none given = required. limits: as of `option`."""
    return field(default=default, metadata={_ARGUMENT: True, _TYPER: {"help": help, **limits}})


def command(
    app: typer.Typer, name: str, options: type[Options], **settings: Any
) -> Callable[[Callable[[Options], int | None]], Callable[[Options], int | None]]:
    """Mount a function of one command's options into `app`. settings: as typer's `command` takes them."""

    def mount(run: Callable[[Options], int | None]) -> Callable[[Options], int | None]:
        def typed(**given: Any) -> int | None:
            try:
                # None is what was not typed: the field's own default.
                return run(options(**{name: _frozen(value) for name, value in given.items() if value is not None}))
            except OSError as error:
                if error.filename is None and error.errno not in USERS_ERRORS and not _is_unknown_host(error):
                    raise
                # A file, directory or port that cannot be used.
                named = error.filename2 or error.filename
                raise UserMistake(f"{named}: {error.strerror}" if named else str(error)) from error

        parameters = list(_parameters(options))
        typed.__doc__ = run.__doc__
        typed.__name__ = run.__name__
        typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        typed.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        app.command(name, **settings)(typed)
        return run

    return mount


def words_of(options: Any, leave_out: Iterable[str] = ()) -> list[str]:
    """What one would type for these options; what is not given is left out, and a default that is 0 or nothing.

    Raises ValueError for what nobody can type: an empty tuple, or a switch turned off, where the default is not.
    """
    words: list[str] = []
    for one in fields(options):
        value = getattr(options, one.name)
        if one.name in leave_out or value is None or (not value and value == one.default):
            continue
        if value == () or (value is False and one.metadata[_FLAG]):
            raise ValueError(f"{one.name}={value!r} cannot be typed: without words it is {one.default!r}")
        if isinstance(value, bool):
            words.append(_flag(one) if value else "--no-" + _flag(one)[2:])
            continue
        for each in value if isinstance(value, tuple) else (value,):
            words += [str(each)] if one.metadata.get(_ARGUMENT) else [_flag(one), str(each)]
    return words


def command_of(name: str, options: Any, leave_out: Iterable[str] = (), *rest: str) -> str:
    """The command that these options make. rest: words for what belongs to a machine, such as directories."""
    return " ".join([shlex.join(["stackmac", *name.split(), *words_of(options, leave_out)]), *rest])


def _parameters(options: type[Any]) -> Iterator[inspect.Parameter]:
    hints = get_type_hints(options)
    for one in fields(options):
        hint, default = hints[one.name], inspect.Parameter.empty if one.default is MISSING else one.default
        if get_origin(hint) is tuple:
            hint, default = list[get_args(hint)[0]] | None, default or None  # type: ignore[misc]
        settings = dict(one.metadata[_TYPER])
        if one.metadata.get(_ARGUMENT):
            typed: Any = typer.Argument(**settings)
        else:
            # A switch that is off is not typed at all: it has no --no- form.
            is_switch = hint is bool and one.default is False
            flag = one.metadata[_FLAG] or (_flag(one) if is_switch else "")
            typed = typer.Option(*([flag] if flag else []), **settings)
        annotation: Any = Annotated[hint, typed]
        yield inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _is_unknown_host(error: OSError) -> bool:
    """getaddrinfo's numbers are negative, and asyncio raises them as OSError."""
    return error.errno is not None and error.errno < 0


def _frozen(given: Any) -> Any:
    """typer gives lists."""
    return tuple(given) if isinstance(given, list) else given


def _flag(one: Field[Any]) -> str:
    """The first of its names."""
    flag: str = one.metadata[_FLAG] or "--" + one.name.replace("_", "-")
    return flag.split("/")[0]
