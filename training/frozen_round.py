"""What a round holds between two updates, as bytes and back: arrays and plain values, no pickle.

Its values are nests of tuples, lists, mappings, named tuples and dataclasses around arrays and scalars. The arrays go
into a safetensors file of their own, everything else into a text of its metadata. What is read is made of the classes
that the reader names, and of nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from training.errors import TrainingError

PLACE = "array"
"""Key of an array's number."""


def freeze(value: Any) -> bytes:
    """Raises TypeError for what is neither an array nor a plain value."""
    arrays: dict[str, NDArray[Any]] = {}
    tree = _plain(value, arrays)
    return save(arrays, {"tree": json.dumps(tree)})


def thaw(content: bytes, classes: Iterable[type]) -> Any:
    """The value that `freeze` saw. classes: of its named tuples, dataclasses and enumerations.

    Raises TrainingError for what they cannot be made of, as they were in another version.
    """
    try:
        size = int.from_bytes(content[:8], "little")
        tree = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["tree"])
        return _value(tree, load(content), {known.__name__: known for known in classes})
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise TrainingError(f"the checkpoint's unfinished round is another version's: {error!r}") from error


def rng_state(rng: np.random.Generator) -> dict[str, Any]:
    """Where a generator stands."""
    return dict(rng.bit_generator.state)


def set_rng_state(rng: np.random.Generator, state: Mapping[str, Any]) -> None:
    rng.bit_generator.state = state


def _plain(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    if isinstance(value, np.ndarray):
        arrays[str(len(arrays))] = np.array(value, order="C")
        return {PLACE: str(len(arrays) - 1)}
    if isinstance(value, Enum):
        return {"of": type(value).__name__, "value": value.value}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {"of": type(value).__name__, "tuple": [_plain(each, arrays) for each in value]}
    if is_dataclass(value) and not isinstance(value, type):
        own = {one.name: _plain(getattr(value, one.name), arrays) for one in fields(value)}
        return {"of": type(value).__name__, "fields": own}
    if isinstance(value, Mapping):
        return {"map": [[_plain(key, arrays), _plain(each, arrays)] for key, each in value.items()]}
    for kind, name in ((tuple, "tuple"), (list, "list"), (frozenset, "set")):
        if isinstance(value, kind):
            return {name: [_plain(each, arrays) for each in value]}
    raise TypeError(f"a round holds {type(value).__name__}, expected arrays and plain values")


def _value(tree: Any, arrays: Mapping[str, NDArray[Any]], classes: Mapping[str, Callable[..., Any]]) -> Any:
    if not isinstance(tree, dict):
        return tree
    if PLACE in tree:
        return arrays[tree[PLACE]].copy()  # aligned, and its own
    if "value" in tree:
        return classes[tree["of"]](tree["value"])
    if "fields" in tree:
        own = {name: _value(each, arrays, classes) for name, each in tree["fields"].items()}
        return classes[tree["of"]](**own)
    if "map" in tree:
        return {_value(key, arrays, classes): _value(each, arrays, classes) for key, each in tree["map"]}
    (name,) = tree.keys() - {"of"}
    parts = [_value(each, arrays, classes) for each in tree[name]]
    if "of" in tree:
        return classes[tree["of"]](*parts)
    return {"tuple": tuple, "list": list, "set": frozenset}[name](parts)
