"""The platform's own Python libraries, ricxappframe and ricsdl: what to do where they are missing.

ricsdl pins hiredis 2.0.0, which no Python from 3.12 on can build, so there no resolver can have them. Installed without
their pins they work. Until then stackmac runs without: shared data over Redis alone, RMR in Python.
"""

from __future__ import annotations

from policy.errors import StackmacError

ADD_COMMAND = "pip install --no-deps ricsdl==3.1.3 ricxappframe==3.2.2"
HOW_TO_ADD = f"the platform's libraries are not installed; to add them: {ADD_COMMAND}"


class LibrmrMissing(StackmacError):
    """librmr_si.so cannot be loaded: one line that says so."""


def is_missing(error: ImportError) -> bool:
    """Whether an import failed because the platform's libraries are not there, and not for another reason."""
    return (error.name or "").partition(".")[0] in ("ricxappframe", "ricsdl")
