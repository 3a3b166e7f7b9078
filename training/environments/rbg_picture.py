"""The RBG grid as a picture: a row an RBG, a column a slot, the newest one on the right.

A UE's colour = it alone sent there; red = several did, and all was lost; grey = nobody. A lighter square = the RBG was
open to contention. Suffixes: U seats, M RBGs.
"""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

SQUARE_PIXELS = 10
SHOWN_SLOTS = 60
NOBODY, COLLIDED = (70, 70, 70), (220, 30, 30)
UE_COLOURS = (
    (52, 120, 200), (240, 170, 40), (60, 170, 90), (150, 90, 190), (90, 200, 200), (200, 120, 80), (170, 190, 60),
    (230, 130, 190),
)  # fmt: skip
"""Taken in turn by seat."""
OPEN_SHARE = 0.35
"""How much white an open square gets."""


class RbgPicture:
    """The last SHOWN_SLOTS slots of one cell."""

    def __init__(self, num_rbgs: int) -> None:
        self._num_rbgs = num_rbgs
        self._columns: deque[NDArray[np.uint8]] = deque(maxlen=SHOWN_SLOTS)

    def add_slot(self, sends_UM: NDArray[np.bool_], open_M: NDArray[np.bool_]) -> None:
        """What was sent in a slot, and which RBGs were open to contention in it."""
        senders_M, sender_M = sends_UM.sum(axis=0), sends_UM.argmax(axis=0)
        colours = np.array(UE_COLOURS, np.float64)[sender_M % len(UE_COLOURS)]
        colours[senders_M == 0], colours[senders_M > 1] = NOBODY, COLLIDED
        colours[open_M] += OPEN_SHARE * (255.0 - colours[open_M])
        self._columns.append(colours.astype(np.uint8))

    def pixels(self) -> NDArray[np.uint8]:
        """[M x SQUARE_PIXELS, SHOWN_SLOTS x SQUARE_PIXELS, 3]; black where nothing was played yet."""
        picture = np.zeros((self._num_rbgs, SHOWN_SLOTS, 3), np.uint8)
        for back, column in enumerate(reversed(self._columns), start=1):
            picture[:, -back] = column
        large = picture.repeat(SQUARE_PIXELS, axis=0).repeat(SQUARE_PIXELS, axis=1)
        large[::SQUARE_PIXELS], large[:, ::SQUARE_PIXELS] = 0, 0
        return large
