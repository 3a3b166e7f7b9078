"""`python -m xapp.control.columns`: compile what reads reports, so that nobody waits for it later; it stays."""

from __future__ import annotations

import sys

from xapp.control.columns.compiled_code import prepare_all


def main() -> int:
    """The exit status: 0, or 1 if there is no folder to keep it in."""
    kept_in = prepare_all()
    if not all(kept_in):
        print("python -m xapp.control.columns: compiled, but there is no folder to keep it in", file=sys.stderr)
        return 1
    print(f"the compiled report readers are in {', '.join(dict.fromkeys(kept_in))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
