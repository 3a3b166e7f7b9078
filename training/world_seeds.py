"""Which worlds are whose: seeds far apart, so that nothing is judged where it was tuned, searched or chosen."""

from __future__ import annotations

FIRST_WORLD_SEED = 700_001
"""World seeds of evaluations count up from here: nothing is tuned on these."""
TUNING_SEED = 1_000_003
"""Worlds in which c of the leftover rule is tuned (`stackmac tune`)."""
SEARCH_SEED = 2_000_003
"""The world in which deviations are searched (`stackmac exploit`)."""
MAX_SEED = 2**40
"""Of what is typed: far below what numpy, torch and sums of seeds can hold."""
CHOOSING_SEED = 3_000_003
"""Worlds in which a run chooses its best weights (training.learning.selection)."""
