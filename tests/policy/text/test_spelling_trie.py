"""The trie over any tokenizer's tokens says exactly what the grammar allows, with the probabilities of Eq. 12."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.grammar import LAB, compile_grammar
from policy.intent import Intent
from policy.prompt.text import action_text
from policy.text.spelling_trie import ROOT, BranchNodes, Trie, TrieError

SEPARATOR = 99

spellings = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=9, unique=True
)
"""Any words at all: one may begin another."""


def logit(path: Sequence[int], token: int) -> float:
    """A language model: some number that depends on all that was read."""
    return zlib.crc32(repr((tuple(path), token)).encode()) / 2**31


def softmax(logits: Sequence[float]) -> np.ndarray:
    weights = np.exp(np.array(logits) - max(logits))
    return np.asarray(weights / weights.sum())


def by_tokens(words: dict[int, tuple[int, ...]]) -> dict[int, float]:
    """Each action's probability, token by token: the tokens that may come next are those that lead somewhere legal."""
    found = {}
    for action, word in words.items():
        probability = 1.0
        for k, token in enumerate(word):
            ways = sorted({other[k] for other in words.values() if len(other) > k and other[:k] == word[:k]})
            probability *= softmax([logit(word[:k], way) for way in ways])[ways.index(token)]
        found[action] = probability
    return found


def by_forks(branches: BranchNodes) -> dict[int, float]:
    """The same from the forks alone."""
    paths: list[tuple[int, ...]] = []
    for token, parent in zip(branches.token_N.tolist(), branches.parent_N.tolist()):
        paths.append((*(paths[parent] if parent != ROOT else ()), token))
    log_probs = []
    for node, ways, real in zip(branches.node_F, branches.ways_FW, branches.real_FW):
        path = () if node == ROOT else paths[node]
        log_probs.append(np.log(softmax([logit(path, int(way)) for way in ways[real]])))
    sums = np.zeros(len(branches.actions))
    for action, add_branches, way in zip(branches.action_P, branches.branch_P, branches.way_P):
        sums[action] += log_probs[add_branches][way]
    return dict(zip(branches.actions.tolist(), np.exp(sums).tolist()))


@settings(max_examples=40)
@given(spellings, st.data())
def test_an_actions_probability_is_the_product_of_the_masked_softmaxes_on_its_way(
    words: list[tuple[int, ...]], data: st.DataObject
) -> None:
    trie = Trie(lambda action: words[action], SEPARATOR, len(words))
    legal = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)).filter(any))
    expected = by_tokens({a: trie.spelling(a) for a in range(len(words)) if legal[a]})
    assert sum(expected.values()) == pytest.approx(1.0)
    assert by_forks(trie.branches(np.array(legal))) == pytest.approx(expected)


@settings(max_examples=40)
@given(spellings)
def test_no_spelling_ends_where_another_goes_on(words: list[tuple[int, ...]]) -> None:
    trie = Trie(lambda action: words[action], SEPARATOR, len(words))
    spelled = [trie.spelling(action) for action in range(len(words))]
    for a, one in enumerate(spelled):
        for b, other in enumerate(spelled):
            assert a == b or other[: len(one)] != one
    assert trie.separated or spelled == words


@settings(max_examples=40)
@given(spellings, st.data())
def test_what_is_read_of_an_action_begins_its_spelling(words: list[tuple[int, ...]], data: st.DataObject) -> None:
    trie = Trie(lambda action: words[action], SEPARATOR, len(words))
    branches = trie.branches(np.ones(len(words), bool))
    action = data.draw(st.integers(0, len(words) - 1))
    read = [int(branches.token_N[node]) for node in branches.read[action]]
    assert tuple(read) == trie.spelling(action)[: len(read)]


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it is a plain function
@given(st.integers(0, 2**32 - 1), st.integers(1, 40))
def test_tokens_that_the_trie_allows_spell_the_grammars_dcms_and_no_others(
    make_random_state: Callable[..., object], seed: int, merges: int
) -> None:
    rng = np.random.default_rng(seed)
    state = make_random_state(rng, ues=12, num_rbgs=3)
    grammar = compile_grammar(state, Intent(max_share_percent={state.ue_ids[1]: 40.0}), LAB)
    encode = random_tokenizer(rng, merges)
    trie = Trie(lambda action: encode(action_text(action)), SEPARATOR, grammar.num_actions)
    cursor = grammar.start()
    while not cursor.done:
        mask_A = cursor.mask()
        trie.branches(mask_A)
        words = {trie.spelling(int(a)): int(a) for a in np.flatnonzero(mask_A)}
        assert len(words) == mask_A.sum()
        chosen: tuple[int, ...] = ()
        while chosen not in words:
            chosen += (int(rng.choice(sorted({w[len(chosen)] for w in words if w[: len(chosen)] == chosen}))),)
        cursor.advance(words[chosen])
    assert grammar.tokens(cursor.allocation()) == tuple(cursor.tokens)


def random_tokenizer(rng: np.random.Generator, merges: int) -> Callable[[str], list[int]]:
    """Characters, and random merges of those that stand side by side in what is encoded. It drops line ends."""
    table: dict[tuple[int, int], int] = {}

    def encode(text: str) -> list[int]:
        ids = [ord(c) for c in text if c != "\n"]
        for k in range(len(ids) - 1):
            if len(table) < merges and rng.random() < 0.2:
                table.setdefault((ids[k], ids[k + 1]), 1000 + len(table))
        for pair, merged in list(table.items()):
            k = 0
            while k < len(ids) - 1:
                if (ids[k], ids[k + 1]) == pair:
                    ids[k : k + 2] = [merged]
                k += 1
        return ids

    return encode


def test_actions_that_are_spelled_alike_are_refused() -> None:
    with pytest.raises(TrieError, match="actions 0 and 1"):
        Trie(lambda action: [7], SEPARATOR, 2)


def test_a_name_that_comes_later_must_be_told_apart_too() -> None:
    trie = Trie(lambda action: [[1], [2], [1, 3]][action], SEPARATOR, 2)
    assert not trie.separated
    with pytest.raises(TrieError, match="actions 0 and 2"):
        trie.spelling(2)
