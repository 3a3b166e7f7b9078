"""Write into bundles what they answer now: `python tools/record_answers.py policy/bundles/*`.

A bundle that is loaded must answer the same (policy.leader_models.recorded_answers). `save_bundle` does it for new
ones.
"""

from __future__ import annotations

import sys

import torch

from policy.bundle import record_answers
from policy.bundle_files import BundleError


def main(folders: list[str]) -> int:
    """The exit status."""
    torch.set_num_threads(1)
    for folder in folders:
        try:
            print(f"{folder}: {record_answers(folder)} answers")
        except BundleError as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
