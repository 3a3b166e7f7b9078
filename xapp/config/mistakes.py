"""What is wrong with a document that a model refuses: each mistake by its path, its value, and what may stand there."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from typing import Any

from pydantic import BaseModel, ValidationError

from policy.errors import counted

MAX_MISTAKES = 12
"""Of one document that are named; how many more there are is said."""
MAX_SHOWN = 60
"""Characters of a wrong value that are repeated ..."""
MAX_PART = 40
"""... and of a name that somebody made up."""
MAX_NAMES = 8
"""Names of fields that are listed where another one is given."""
Schema = Mapping[str, Any]
Place = Sequence[str | int]


class Contradictions(ValueError):
    """What a model's validator finds that does not go together, several things at once."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__("; ".join(lines))
        self.lines = tuple(lines)


def mistakes_of(
    error: ValidationError, model: type[BaseModel], *, whole: str, prefix: str = "", forms: Collection[str] = ()
) -> tuple[str, ...]:
    """Each a line, in the order of the fields.

    whole: what a mistake that is of no one field is said of. prefix: where the document stands in a larger one. forms:
    parts of a place that are no field.
    """
    found: list[str] = []
    more = 0
    for one in error.errors(include_url=False):
        cause = one.get("ctx", {}).get("error")
        lines = cause.lines if isinstance(cause, Contradictions) else (one["msg"].removeprefix("Value error, "),)
        if len(found) >= MAX_MISTAKES:  # a document may have thousands, and each takes a while to explain
            more += len(lines)
            continue
        place = [part for part in one["loc"] if part not in forms]
        path = ".".join([*filter(None, [prefix]), *map(_part, place)]) or whole
        start = f"{path}: " if cause is not None and not prefix else f"{path} is {shown(one['input'])}: "
        found += [f"{start}{line}{_allowed(model, place, one['type'])}" for line in lines]
    if more := more + max(0, len(found) - MAX_MISTAKES):
        found[MAX_MISTAKES:] = [f"and {counted(more, 'more mistake')}"]
    return tuple(found)


def shown(value: object) -> str:
    """A wrong value, as much of it as a line has room for."""
    text = repr(value)
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 3] + "..."


def _part(part: str | int) -> str:
    text = str(part)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= MAX_PART else text[: MAX_PART - 3] + "..."


def _allowed(model: type[BaseModel], place: Place, kind: str) -> str:
    """What the error's own message leaves out of what may stand there; "" = nothing."""
    if kind == "extra_forbidden":
        return _named_otherwise(str(place[-1]), _names(_at(_schema(model), place[:-1])))
    ranges = [text for schema in _at(_schema(model), place) if (text := _range(schema))]
    return f" (range {ranges[0]})" if ranges else ""


def _named_otherwise(name: str, names: Sequence[str]) -> str:
    if close := get_close_matches(name[:MAX_PART], names, n=1, cutoff=0.75):
        return f" (is it {close[0]}?)"
    return f" (fields are {', '.join(names)})" if 0 < len(names) <= MAX_NAMES else ""


def _names(schemas: Sequence[Schema]) -> list[str]:
    return [name for schema in schemas for name in schema.get("properties", ())]


def _range(schema: Schema) -> str:
    """ "" where one of its ends is open."""
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None and (above := schema.get("exclusiveMinimum")) is not None:
        low = f"above {above:g}"
    if high is None and (below := schema.get("exclusiveMaximum")) is not None:
        high = below - 1 if schema.get("type") == "integer" else f"below {below:g}"
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@cache
def _schema(model: type[BaseModel]) -> Schema:
    return model.model_json_schema()


def _at(schema: Schema, place: Place) -> list[Schema]:
    """All that may stand at `place`."""
    definitions = schema.get("$defs", {})
    here = list(_choices(schema, definitions))
    for part in place:
        name = "items" if isinstance(part, int) else part
        parents = here if isinstance(part, int) else [each.get("properties", {}) for each in here]
        here = [choice for each in parents if name in each for choice in _choices(each[name], definitions)]
    return here


def _choices(schema: Schema, definitions: Schema) -> Iterator[Schema]:
    if "$ref" in schema:
        yield from _choices(definitions[schema["$ref"].rpartition("/")[2]], definitions)
        return
    yield schema
    for choice in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _choices(choice, definitions)
