"""A bundle's files and their description, checked; free of torch, and of what the models are.

bundle.json says of every file its size and its sha256: what is not exactly as described is refused, and so is a pickle.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from policy.errors import UserMistake

FORMAT_VERSION = 1
BUNDLES = Path(__file__).parent / "bundles"
"""Where the shipped bundles are."""
DESCRIPTION = "bundle.json"
LEADER_FILE = "leader.safetensors"
FOLLOWER_FILE = "follower.safetensors"
PICKLES = {".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt"}
"""Loading one runs whatever code is in it."""
MAX_FILE_BYTES = 1 << 35
"""All weights of a language model of some 10^9, in float32."""


class BundleError(UserMistake, ValueError):
    """A bundle that cannot be trusted or understood; one line that names file, value and expectation."""


def read_description(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise BundleError(f"{folder}: no such bundle directory")
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in PICKLES:
            raise BundleError(f"{file}: is a pickle ({file.suffix}), expected only safetensors and JSON in a bundle")
    where = folder / DESCRIPTION
    try:
        description = json.loads(where.read_bytes())
    except OSError as error:
        raise BundleError(f"{where}: {error.strerror or error}, expected a bundle's description") from error
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{where}: not JSON ({error})") from error
    version = description.get("format_version") if isinstance(description, dict) else None
    if version != FORMAT_VERSION:
        raise BundleError(f"{where}: format_version is {version!r}, expected {FORMAT_VERSION}")
    return dict(description)


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
