"""Model tokens of one cell that are read at once: a chain, and beside it the branch nodes at which a word is chosen.

A token sees its own path: the chain before it and, within a step's branch nodes (policy.text.spelling_trie), the nodes
that lead to it. So what lies beside the chain changes nothing that the chain reads. Suffix: T = tokens of the token
tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from policy.text.spelling_trie import ROOT, BranchNodes


class TokenTree:
    """Tokens of one cell that are read at once: a chain, with the branch nodes of its choices beside it."""

    def __init__(self, start: int) -> None:
        """start: how many tokens the chain had before."""
        self.tokens: list[int] = []
        self.before: list[int] = []
        """Place of the token before, in the token tree; ROOT = the chain as it was."""
        self.depths: list[int] = []
        """Position of each token: how many come before it on its path."""
        self._start, self._end = start, ROOT

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def end(self) -> int:
        """Place of the chain's last token."""
        return self._end

    def add(self, tokens: Sequence[int]) -> None:
        """Go on with the chain."""
        for token in tokens:
            self._end = self._put(token, self._end)

    def add_branches(self, branches: BranchNodes) -> int:
        """Put a step's branch nodes beside the chain's end; the place of the first one."""
        first, step_prefix = len(self.tokens), self._end
        for token, parent in zip(branches.token_N.tolist(), branches.parent_N.tolist()):
            self._put(token, step_prefix if parent == ROOT else first + parent)
        return first

    def take(self, places: Sequence[int]) -> None:
        """Tokens beside the chain become its next."""
        if places:
            self._end = places[-1]

    def _put(self, token: int, before: int) -> int:
        self.tokens.append(token)
        self.before.append(before)
        self.depths.append(self._start if before == ROOT else self.depths[before] + 1)
        return len(self.tokens) - 1

    def path(self, place: int) -> NDArray[np.bool_]:
        """Which tokens are on the way to `place`, itself among them, [T]."""
        path_T = np.zeros(len(self.tokens), bool)
        while place != ROOT:
            path_T[place] = True
            place = self.before[place]
        return path_T

    def seen(self) -> NDArray[np.bool_]:
        """Which tokens of the token tree each of them sees, [T, T]: those on its path, and itself."""
        count = len(self.tokens)
        seen_TT = np.zeros((count, count), bool)
        for place, before in enumerate(self.before):
            if before != ROOT:
                seen_TT[place] = seen_TT[before]
            seen_TT[place, place] = True
        return seen_TT


class Choice(NamedTuple):
    """One step of one cell at which there is a choice, and where the model reads it."""

    row: int
    """The cell's place in the batch."""
    step: int
    branches: BranchNodes
    step_prefix: int
    """Place of the step prefix's last token in the token tree; branch nodes follow it ..."""
    first: int
    """... from this place on."""
