"""A bundle's files and their description, checked; free of torch, and of what the models are.

bundle.json says of every file its size and its sha256: what is not exactly as described is refused, and so is a pickle.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from policy.errors import UserMistake

FORMAT_VERSION = 1
BUNDLES = Path(__file__).parent / "bundles"
"""Where the shipped bundles are."""
DESCRIPTION = "bundle.json"
OF_A_RUN = "bundle"
"""The folder in which a training run leaves its bundle."""
LEADER_FILE = "leader.safetensors"
FOLLOWER_FILE = "follower.safetensors"
PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
"""Loading one runs whatever code is in it."""
MAX_FILE_BYTES = 1 << 35
"""All weights of a language model of some 10^9, in float32."""
MAX_DESCRIPTION_BYTES = 1 << 26
FEW_WEIGHTS = 1 << 22
"""A model of so few is made before it is compared with its file."""
MAX_DEPTH = 32
MAX_NUMBER = 1e15
"""More than any size or level in a description."""
OF_OTHERS = ("provenance", "metrics", "base_model")
"""What was measured, and what another library says of a base model, may be any number: nothing is made of it here."""
SHOWN_CHARACTERS, MAX_LINE = 80, 800


class BundleError(UserMistake, ValueError):
    """A bundle that cannot be trusted or understood; one line that names file, value and expectation."""

    def __init__(self, line: str) -> None:
        """However long the value is that it quotes, and whatever a library has to say."""
        line = " ".join(line.split("\n"))
        super().__init__(line if len(line) <= MAX_LINE else line[: MAX_LINE - 3] + "...")


def description_text(description: Mapping[str, Any]) -> str:
    """As bundle.json holds it; of the recorded answers one a line."""
    rest = {name: value for name, value in description.items() if name != "answers"}
    text = json.dumps(rest, indent=1)
    if "answers" in description:
        lines = ",\n".join(f"  {json.dumps(each)}" for each in description["answers"])
        text = f'{text[:-2]},\n "answers": [\n{lines}\n ]\n}}'
    return text + "\n"


def bundle_folder(folder: Path) -> Path:
    """Where the files of the bundle are that `folder` names: in it; of a training run, in the folder of its bundle."""
    inner = folder / OF_A_RUN
    # By os.path, which raises nothing about a folder that may not be looked into: whoever reads it says so.
    is_run = os.path.isfile(inner / DESCRIPTION) and not os.path.lexists(folder / DESCRIPTION)
    return inner if is_run else folder


def read_description(folder: Path) -> dict[str, Any]:
    """The checked description of a bundle, or of the bundle of a training run. Raises BundleError."""
    folder = bundle_folder(folder)
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle directory")
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICKLES:
            raise BundleError(f"{file}: is a pickle ({file.suffix}), expected only safetensors and JSON in a bundle")
    where = folder / DESCRIPTION
    try:
        if (size := where.stat().st_size) > MAX_DESCRIPTION_BYTES:
            raise BundleError(f"{where}: size is {size} bytes, expected at most {MAX_DESCRIPTION_BYTES}")
        description = json.loads(where.read_bytes())
    except FileNotFoundError as error:
        inner = f"{OF_A_RUN}/{DESCRIPTION}"
        line = f"{folder}: no bundle, nor a training run with one: it has neither {DESCRIPTION} nor {inner}"
        raise BundleError(line) from error
    except OSError as error:
        raise BundleError(f"{where}: {error.strerror or error}, expected a bundle's description") from error
    except BundleError:
        raise
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({error})") from error
    if problem := _beyond_bounds(description):
        raise BundleError(f"{where}: {problem}")
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(f"{where}: format_version is {_shown(version)}, expected {FORMAT_VERSION}")
    checked = dict(description)
    _check_sizes(checked, where)
    return checked


def _beyond_bounds(document: Any) -> str:
    """The first value that is nested too deeply or too large to be meant; empty = there is none."""
    waiting = [("", document, 0)]
    while waiting:
        name, value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            return f"{name} is nested more than {MAX_DEPTH} deep"
        if isinstance(value, dict):
            waiting += [(name or str(key)[:SHOWN_CHARACTERS], each, depth + 1) for key, each in value.items()]
        elif isinstance(value, list):
            waiting += [(name, each, depth + 1) for each in value]
        elif name in OF_OTHERS:
            continue
        elif isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            return f"{name} holds {_shown(value)}, expected numbers up to {MAX_NUMBER:.0e}"
    return ""


def _check_sizes(description: Mapping[str, Any], where: Path) -> None:
    """A large model cannot have more weights than its file has bytes: nothing is made that large to find that out."""
    for model, file in (("leader", LEADER_FILE), ("follower", FOLLOWER_FILE)):
        sizes, entry = description.get(model), (description.get("files") or {})
        entry = entry.get(file) if isinstance(entry, dict) else None
        if not isinstance(sizes, dict) or not isinstance(entry, dict) or not isinstance(entry.get("bytes"), int):
            continue  # refused where it is read
        hidden, layers, inner = (sizes.get(name, 1) for name in ("hidden_size", "num_layers", "intermediate_size"))
        if not all(isinstance(size, int) for size in (hidden, layers, inner)):
            raise BundleError(f"{where}: {model} has sizes that are no integers: {_shown((hidden, layers, inner))}")
        words = description.get(f"{model}_layout")
        words = words.get("ucm_tokens", 1) if isinstance(words, dict) else 1
        if isinstance(words, int) and words * hidden > max(FEW_WEIGHTS, entry["bytes"]):
            raise BundleError(f"{where}: {model} of {words} UCM tokens is larger than {file}, {entry['bytes']} bytes")
        if layers * hidden * max(hidden, inner) > max(FEW_WEIGHTS, entry["bytes"]):
            raise BundleError(
                f"{where}: {model} of hidden_size {hidden}, num_layers {layers} and intermediate_size {inner} is larger"
                f" than {file}, {entry['bytes']} bytes"
            )


def _shown(value: object) -> str:
    """A value in an error's line."""
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "..."


def read_checked(file: Path, expected: Any) -> bytes:
    """A file's content, if it is what the description says."""
    if not isinstance(expected, dict) or not {"bytes", "sha256"} <= expected.keys():
        raise BundleError(f"{file.parent / DESCRIPTION}: entry of {file.name} is {expected!r}, expected bytes, sha256")
    try:
        size = file.stat().st_size
        if size != expected["bytes"] or size > MAX_FILE_BYTES:
            raise BundleError(f"{file}: size is {size} bytes, expected {expected['bytes']}")
        content = file.read_bytes()
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror or error}, expected a file of the bundle") from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected["sha256"]:
        raise BundleError(f"{file}: sha256 is {digest}, expected {expected['sha256']}")
    return content
