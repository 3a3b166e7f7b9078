"""`python -m policy.engine`: compile the decision, so that nobody waits for it later; what is compiled stays.

Of the shipped bundles, or of those whose directories are named. An image is built with this; it may then be read-only.
"""

from __future__ import annotations

import sys

from policy.bundle_files import BundleError
from policy.engine.decide import decide_cells
from policy.engine.loading import NoEngine, engine_leader
from policy.shipped import BUNDLED


def main(names: list[str]) -> int:
    """The exit status: 0, or 2 after one line about what is wrong with a bundle."""
    try:
        for name in names or [BUNDLED]:
            engine_leader(name).prepare(may_compile=True)
    except (BundleError, NoEngine) as error:
        print(f"python -m policy.engine: {error}", file=sys.stderr)
        return 2
    if not decide_cells.kept_in:
        print("python -m policy.engine: compiled, but there is no folder to keep it in", file=sys.stderr)
        return 1
    print(f"the compiled decision is in {decide_cells.kept_in}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
