"""All that a grammar can say."""

from __future__ import annotations

import numpy as np

from policy.allocation import Allocation
from policy.grammar import Grammar


def language(grammar: Grammar) -> list[tuple[tuple[int, ...], Allocation]]:
    """Every DCM that the masks allow and what it means, depth first; a mask that is empty too early fails here."""
    found: list[tuple[tuple[int, ...], Allocation]] = []
    stack: list[tuple[int, ...]] = [()]
    cursor = grammar.start()
    while stack:
        tokens = stack.pop()
        if tuple(cursor.tokens) != tokens[:-1]:  # of another branch
            cursor = grammar.start()
            for token in tokens[:-1]:
                cursor.advance(token)
        if tokens:
            cursor.advance(tokens[-1])
        if cursor.done:
            found.append((tokens, cursor.allocation()))
            assert len(tokens) <= grammar.max_tokens
            continue
        allowed = np.flatnonzero(cursor.mask()).tolist()
        assert allowed, f"stuck after {tokens}"
        stack.extend((*tokens, token) for token in allowed)
    return found
