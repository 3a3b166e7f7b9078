"""Result files of one evaluation that several machines shared, as one: other world seeds, UEs or players each.

What was played twice must be the same to the digit; what does not belong together is refused, by name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from training.evaluation.evaluate import Cells, Key
from training.evaluation.result_document import (
    Document,
    ResultError,
    document_of,
    read_document,
    read_parts,
    read_values,
)
from training.evaluation.rows import world_seeds

SAME = ("scenario_hash", "slots", "made_by")
"""Must be equal in all of them, and of `setup`:"""
SAME_SETUP = ("cells", "periods", "observe")


def merge(documents: Sequence[tuple[str, Document]]) -> Document:
    """One result of several, each with its file's name. Raises ResultError."""
    first_name, first = documents[0]
    for name, document in documents:
        read_parts(document, name)
        pairs = [(key, document[key], first[key]) for key in SAME]
        pairs += [(key, document["setup"][key], first["setup"][key]) for key in SAME_SETUP]
        for key, here, there in pairs:
            if here != there:
                raise ResultError(f"{name} does not belong to {first_name}: {key} is {here}, not {there}")
    players = _united(documents, "players", ("name", "decoding"))
    bundles = _united(documents, "bundles", ("player", "name"))
    cells = _all_values(documents)
    if not cells:
        raise ResultError(f"{first_name}: nothing was played")
    seeds = sorted({key.world_seed for key in cells})
    ues = tuple(dict.fromkeys(count for _, document in documents for count in document["setup"]["ues"]))
    whole = world_seeds(seeds[-1] - seeds[0] + 1, seeds[0])
    labels = {key.label: None for key in cells}
    trainings = {label: {key.training for key in cells if key.label == label} for label in labels}
    for label in labels:
        for one in (Key(label, s, count, seed) for s in trainings[label] for count in ues for seed in whole):
            if one not in cells:
                raise ResultError(f"nobody played {one}: the files are not all of one evaluation")
    setup = {**first["setup"], "ues": ues, "seeds": len(whole), "first_seed": whole[0]}
    merged = {
        **first,
        "setup": setup,
        "players": players,
        "contenders": _contenders(documents),
        "values": [entry for _, document in documents for entry in document["values"]],
    }
    result = read_document(merged, "the merged result")
    missing = [one for one in first["missing"] if all(one in document["missing"] for _, document in documents)]
    return document_of(result, bundles, missing)


def _united(documents: Sequence[tuple[str, Document]], what: str, by: Sequence[str]) -> list[Document]:
    """What all the files list, each once. Raises ResultError where two of a name differ."""
    found: dict[tuple[Any, ...], tuple[str, Document]] = {}
    for name, document in documents:
        for entry in document[what]:
            key = tuple(entry[field] for field in by)
            other_name, other = found.setdefault(key, (name, entry))
            for field in {**other, **entry}:
                if other.get(field) != entry.get(field):
                    raise ResultError(
                        f"{name} does not belong to {other_name}: {field} of {key[0]} is {entry.get(field)}, "
                        f"not {other.get(field)}"
                    )
    return [entry for _, entry in found.values()]


def _all_values(documents: Sequence[tuple[str, Document]]) -> Cells:
    """Every cell that anybody played. Raises ResultError where two files say other things of it."""
    found: dict[Key, tuple[str, Any]] = {}
    for name, document in documents:
        for entry in document["values"]:
            key, _ = read_values(entry)
            other_name, cells = found.setdefault(key, (name, entry["cells"]))
            if cells != entry["cells"]:
                raise ResultError(f"{name} does not belong to {other_name}: both played {key}, and values differ")
    return {key: read_values({**key._asdict(), "cells": cells})[1] for key, (_, cells) in found.items()}


def _contenders(documents: Iterable[tuple[str, Document]]) -> dict[str, dict[str, Any]]:
    """c by player and number of UEs. Raises ResultError where the same row was tuned otherwise."""
    found: dict[str, dict[str, Any]] = {}
    for name, document in documents:
        tuned: Mapping[str, Mapping[str, Any]] = document["contenders"]
        for player, by_ues in tuned.items():
            for ues, c in by_ues.items():
                if found.setdefault(player, {}).setdefault(ues, c) != c:
                    raise ResultError(
                        f"{name}: {player} contends at {c} with {ues} UEs, elsewhere at {found[player][ues]}"
                    )
    return found
