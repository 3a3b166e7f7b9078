"""The grammar over a tokenizer's own tokens: every action of a DCM is spelled in one or more of them.

The spellings of the actions that are legal at a step make a trie. A model's token may come next if it leads to one of
them, so an action's probability is the product of the masked softmaxes on its way, and the legal actions' probabilities
sum to 1: no spelling ends where another goes on. A tokenizer that drops line ends would break that (UE1, UE10); then a
separator is spelled after every action.

    root --" UE"--> o --"1"--> o --"\\n"--> UE1          A branch node is a node with more than one way on.
      |             |          +---"0"--> .. UE10       Only branch nodes and what leads to them must be read
      +--" OPEN"--> .. OPEN    "\\n"                    by the model; the rest is forced.

Suffixes: N = nodes that must be read, F = branch nodes, W = ways on from a branch node (padded), P = pairs of an action
and one of the ways on its path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ROOT = -1
"""`parent` of a node that follows the step prefix itself, and `node` of a branch node there."""
MAX_KEPT_STEPS = 4096
"""Tries kept for steps that recur; masks of live cells recur much."""

Spelling = tuple[int, ...]


class TrieError(ValueError):
    """A tokenizer in whose tokens two actions cannot be told apart."""


class BranchNodes(NamedTuple):
    """The trie of one step, reduced to where there is a choice."""

    token_N: NDArray[np.int64]
    """Model tokens to be read after the step prefix, parents first."""
    parent_N: NDArray[np.int64]
    """The node before, or ROOT."""
    node_F: NDArray[np.int64]
    """Where each branch node is: a node, or ROOT."""
    ways_FW: NDArray[np.int64]
    """Model tokens that may come next; 0 where `real_FW` is False."""
    real_FW: NDArray[np.bool_]
    actions: NDArray[np.int64]
    """The legal actions, ascending."""
    action_P: NDArray[np.int64]
    """Index into `actions`, and ..."""
    branch_P: NDArray[np.int64]
    way_P: NDArray[np.int64]
    """... the way that it takes at a branch node on its path."""
    read: Mapping[int, tuple[int, ...]]
    """The nodes on each action's path, in order; the rest of its spelling is forced once it is chosen."""


class Trie:
    """Spellings of all actions of a vocabulary that grows with the cell: fixed ones, then one per UE."""

    def __init__(self, spell: Callable[[int], Sequence[int]], separator: int, num_actions: int) -> None:
        """spell: model tokens of an action. separator: spelled after every action, if that is needed to tell the first
        `num_actions` apart. Raises TrieError if it is and does not help.
        """
        self._spell = spell
        self._end: Spelling = ()
        self._spellings: list[Spelling] = []
        self._kept: dict[bytes, BranchNodes] = {}
        try:
            self._grow(num_actions)
        except TrieError:
            self._end, self._spellings = (separator,), []
            self._grow(num_actions)

    @property
    def separated(self) -> bool:
        """True = the separator is needed."""
        return bool(self._end)

    def spelling(self, action: int) -> Spelling:
        """Raises TrieError if it cannot be told from another's."""
        self._grow(action + 1)
        return self._spellings[action]

    def _grow(self, num_actions: int) -> None:
        if num_actions <= len(self._spellings):
            return
        more = range(len(self._spellings), num_actions)
        grown = [*self._spellings, *((*(int(t) for t in self._spell(action)), *self._end) for action in more)]
        clash = _clash(grown)
        if clash is not None:
            raise TrieError(f"the tokenizer spells actions {clash[0]} and {clash[1]} so that they cannot be told apart")
        self._spellings = grown

    def branches(self, mask_A: NDArray[np.bool_]) -> BranchNodes:
        """The choices of a step at which the actions in `mask_A` are legal; at least one. Raises TrieError."""
        self._grow(len(mask_A))
        key = np.packbits(mask_A).tobytes()
        found = self._kept.get(key)
        if found is None:
            if len(self._kept) >= MAX_KEPT_STEPS:
                self._kept.clear()
            found = self._kept[key] = _branch_nodes({int(a): self._spellings[a] for a in np.flatnonzero(mask_A)})
        return found


def _clash(spellings: Sequence[Spelling]) -> tuple[int, int] | None:
    """Two actions of which one's spelling begins the other's, if there are such."""
    in_order = sorted(range(len(spellings)), key=lambda a: spellings[a])
    for a, b in zip(in_order, in_order[1:]):
        if spellings[b][: len(spellings[a])] == spellings[a]:
            return a, b
    return None


class _Node:
    """A place in the trie, while it is built."""

    __slots__ = ("actions", "index", "next")

    def __init__(self) -> None:
        self.next: dict[int, _Node] = {}
        self.actions = 0
        self.index = ROOT


def _branch_nodes(spellings: Mapping[int, Spelling]) -> BranchNodes:
    root = _Node()
    for spelling in spellings.values():
        node = root
        for token in spelling:
            node = node.next.setdefault(token, _Node())
            node.actions += 1

    tokens: list[int] = []
    parents: list[int] = []
    branches: list[_Node] = []
    branch_of: dict[int, int] = {}

    def visit(node: _Node) -> None:
        if len(node.next) > 1:
            branch_of[id(node)] = len(branches)
            branches.append(node)
        for token, child in node.next.items():
            if child.actions > 1:  # a branch node lies beyond
                child.index = len(tokens)
                tokens.append(token)
                parents.append(node.index)
                visit(child)

    visit(root)
    width = max((len(add_branches.next) for add_branches in branches), default=1)
    ways_FW = np.zeros((len(branches), width), np.int64)
    real_FW = np.zeros((len(branches), width), bool)
    for f, add_branches in enumerate(branches):
        ways_FW[f, : len(add_branches.next)] = list(add_branches.next)
        real_FW[f, : len(add_branches.next)] = True
    pairs: list[tuple[int, int, int]] = []
    read: dict[int, tuple[int, ...]] = {}
    for index, (action, spelling) in enumerate(spellings.items()):
        node, path = root, []
        for token in spelling:
            if id(node) in branch_of:
                pairs.append((index, branch_of[id(node)], list(node.next).index(token)))
            node = node.next[token]
            if node.index != ROOT:
                path.append(node.index)
        read[action] = tuple(path)
    action_P, branch_P, way_P = np.array(pairs, np.int64).reshape(-1, 3).T
    return BranchNodes(
        np.array(tokens, np.int64),
        np.array(parents, np.int64),
        np.array([add_branches.index for add_branches in branches], np.int64),
        ways_FW,
        real_FW,
        np.array(list(spellings), np.int64),
        action_P,
        branch_P,
        way_P,
        read,
    )
