"""Which leader was found to do harm: a bundle by its content."""

from __future__ import annotations

import hashlib
from pathlib import Path

from policy.bundle_files import BUNDLES, DESCRIPTION, bundle_folder
from policy.registry import is_bundle
from policy.shipped import BUNDLED

SHORT = 12
"""Hex digits that are shown."""


def bundle_hash(name: str) -> str:
    """Of a bundle's description, which holds the hash of every file; "" for a leader that is no bundle. Reads files."""
    if not is_bundle(name):
        return ""
    folders = sorted(BUNDLES.iterdir()) if name == BUNDLED else [bundle_folder(Path(name))]
    digest = hashlib.sha256()
    for folder in folders:
        try:
            digest.update((folder / DESCRIPTION).read_bytes())
        except OSError:
            continue  # no bundle, or gone since it was loaded
    return digest.hexdigest()[:SHORT]
