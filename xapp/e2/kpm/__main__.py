"""`python -m xapp.e2.kpm`: compile the reader of reports, so that nobody waits for it later; what is compiled stays."""

from __future__ import annotations

import sys

from xapp.e2.kpm.compiled_code import compiled_walk_code
from xapp.e2.kpm.ue_walk import walk


def main() -> int:
    """The exit status: 0, or 1 if there is no folder to keep it in."""
    compiled_walk_code(may_compile=True)
    if not walk.kept_in:
        print("python -m xapp.e2.kpm: compiled, but there is no folder to keep it in", file=sys.stderr)
        return 1
    print(f"the compiled report reader is in {walk.kept_in}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
