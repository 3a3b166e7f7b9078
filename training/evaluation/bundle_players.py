"""Bundles as players of an evaluation: the one it is about, and baselines that learn.

Several bundles of one player are its training seeds. What a baseline is made of goes by its name: the learned Dictator
is obeyed; under `pf_leader_*` the bundle's followers answer inflight PF; MAPPO's leaders have best-response followers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

from policy.bundle_files import DESCRIPTION, BundleError, bundle_folder
from policy.errors import UserMistake
from policy.leader import Leader
from policy.registry import make_leader
from policy.schedulers.schedulers import SCHEDULERS
from policy.shipped import BUNDLED, shipped_bundle
from training.baselines.players import BASELINES, INFLIGHT_PF, INFLIGHT_PF_SMART, Led, Player, Tuned, World
from training.simulator.cell import Followers
from training.simulator.metrics import CellMetrics

if TYPE_CHECKING:
    from policy.bundle import Bundle
    from policy.follower import FollowerPolicy

BUNDLE = "bundle"
OBEYED = ("dictator_learned",)
UNDER_PF = ("pf_leader_learned_followers", "pf_leader_retrained_followers")
ANSWERED = ("mappo", "mappo_g")
"""Leaders that best-response followers answer."""


class Sampler(Leader, Protocol):
    """A model that leads by its likeliest tokens, and that can draw them instead."""

    def sampled(self, seed: int) -> Leader: ...


class Entry(NamedTuple):
    """A player that takes part, one bundle a training seed."""

    player: str
    names: tuple[str, ...]
    """`bundled`, or directories."""
    bundles: tuple[Bundle, ...]
    players: list[Player]
    others: tuple[dict[str, Any], ...] = ()
    """What a result file names where it is no bundle."""

    def described(self) -> list[dict[str, Any]]:
        """The bundles as a result file names them."""
        return [
            *self.others,
            *(
                {
                    "player": self.player,
                    "name": name,
                    "slots_per_dcm": [bundle.min_slots_per_dcm, bundle.max_slots_per_dcm],
                    "provenance": dict(bundle.provenance),
                    "digest": digest,
                }
                for name, bundle, digest in zip(self.names, self.bundles, self.digests, strict=True)
            ),
        ]

    @property
    def digests(self) -> list[str]:
        """Of each bundle: the same however its folder is called."""
        return [play.digest for play in self.players[0].plays if isinstance(play, BundlePlay)]


@dataclass(frozen=True, slots=True)
class BundlePlay:
    """Play with a bundle's models. Whatever process plays it loads them itself, once."""

    folder: str
    digest: str
    """sha256 of the description, which holds its files' digests: a bundle that changes meanwhile is another one."""
    decoding: str
    """greedy or sampled: of DCMs, and of learned followers' bits."""
    followers: str
    """rule, obey or learned."""
    pf_leads: bool = False
    """Inflight PF leads in place of the bundle's leader."""

    def __call__(self, world: World) -> list[CellMetrics]:
        from training.simulator.learned_followers import LearnedFollowers

        leader, follower, speaks = _models(self.folder, self.digest)
        learned = LearnedFollowers(follower, greedy=self.decoding == "greedy", speaks=speaks and not self.pf_leads)
        answers: Mapping[str, Followers] = {"rule": "best_response", "obey": "obey", "learned": learned}
        answer = answers[self.followers]
        if self.pf_leads:
            return Tuned(INFLIGHT_PF_SMART, SCHEDULERS["proportional_fair"], answer)(world)
        return Led(leader.sampled(world.seed) if self.decoding == "sampled" else leader, answer)(world)


def enter_bundles(names: str, slots_per_dcm: int, decodings: Sequence[str], followers: str) -> Entry:
    """What the evaluation is about: `bundled` (the shipped one for this K) or directories, comma-separated.

    followers: rule or learned. Raises BundleError, and UserMistake for training seeds that are not different ones.
    """
    given, folders, bundles = _loaded(names, slots_per_dcm)
    players = [
        Player(
            BUNDLE,
            tuple(BundlePlay(folder, _digest(folder), how, followers) for folder in folders),
            how,
            followers,
            _train_seeds(given, bundles),
            baseline=False,
        )
        for how in decodings
    ]
    return Entry(BUNDLE, given, bundles, players)


def enter_baseline(name: str, names: str, slots_per_dcm: int, decoding: str, followers: str) -> Entry:
    """A learned baseline. followers: those of a name that says nothing of its own (rule or learned)."""
    if name in BASELINES or name == BUNDLE or not name:
        raise UserMistake(f"{name!r} cannot be the name of a learned player: it is taken")
    given, folders, bundles = _loaded(names, slots_per_dcm)
    if name in OBEYED:
        followers = "obey"
    elif name in UNDER_PF:
        followers = "learned"
    elif name in ANSWERED:
        followers = "rule"
    under_pf = name in UNDER_PF
    plays = tuple(BundlePlay(folder, _digest(folder), decoding, followers, under_pf) for folder in folders)
    ues = {count for bundle in bundles for count in _trained_ues(bundle)}
    player = Player(
        name,
        plays,
        decoding,
        followers,
        _train_seeds(given, bundles),
        teacher=INFLIGHT_PF_SMART if under_pf else _teacher(bundles[0], followers),
        trained_ues=tuple(sorted(ues)),
    )
    return Entry(name, given, bundles, [player])


def _loaded(names: str, slots_per_dcm: int) -> tuple[tuple[str, ...], list[str], tuple[Bundle, ...]]:
    given = tuple(name.strip() for name in names.split(",") if name.strip())
    if not given:
        raise UserMistake(f"no bundle in {names!r}, expected {BUNDLED} or directories, comma-separated")
    # Followers need torch, and whoever evaluates rules alone has none.
    from policy.bundle import load_bundle

    folders = [str(shipped_bundle(slots_per_dcm) if name == BUNDLED else Path(name)) for name in given]
    return given, folders, tuple(load_bundle(folder) for folder in folders)


def _train_seeds(names: Sequence[str], bundles: Sequence[Bundle]) -> tuple[int, ...]:
    """Each bundle's training seed. Raises UserMistake where two are the same: they would not be independent."""
    seeds = [_seed(bundle.provenance) for bundle in bundles]
    if len(seeds) == 1:
        return () if seeds[0] is None else (seeds[0],)
    known: dict[int, str] = {}
    for name, seed in zip(names, seeds, strict=True):
        if seed is None:
            raise UserMistake(f"{name} does not say with which seed it was trained; several bundles must")
        if seed in known:
            raise UserMistake(f"{known[seed]} and {name} were trained with the same seed, {seed}")
        known[seed] = name
    return tuple(known)


def _seed(provenance: Mapping[str, Any]) -> int | None:
    """The seed of the training; that of the warm start where it was not trained further."""
    for part in _stages(provenance):
        if isinstance(part.get("seed"), int):
            return int(part["seed"])
    return None


def _stages(provenance: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The stages of a training, the last one first: `train-followers`, `train`, its forerunner, the warm start."""
    parts = (*(provenance.get(name) for name in ("trained_followers", "trained", "improved")), provenance)
    return [part for part in parts if isinstance(part, Mapping)]


def _trained_ues(bundle: Bundle) -> tuple[int, ...]:
    for part in _stages(bundle.provenance):
        if isinstance(part.get("ues"), list | tuple):
            return tuple(int(count) for count in part["ues"])
    return ()


def _teacher(bundle: Bundle, followers: str) -> str:
    """The baseline that stands for a bundle's teacher with these followers.

    Nobody who decides from reports can keep up with the oracle: whoever learned from it is held against inflight PF.
    """
    name = str(bundle.provenance.get("teacher", ""))
    row = INFLIGHT_PF if name in ("proportional_fair", "oracle") else name
    smart = f"{row}_smart"
    return smart if followers != "obey" and smart in BASELINES else row if row in BASELINES else ""


def _digest(folder: str) -> str:
    return hashlib.sha256((bundle_folder(Path(folder)) / DESCRIPTION).read_bytes()).hexdigest()


@lru_cache(maxsize=32)
def _models(folder: str, digest: str) -> tuple[Sampler, FollowerPolicy, bool]:
    """Leader, followers, and whether these learned to send UCMs."""
    import torch

    from policy.bundle import load_bundle
    from policy.follower import FollowerPolicy

    torch.set_num_threads(1)  # such small models are fastest so, and sums always come out alike
    if _digest(folder) != digest:
        raise BundleError(f"{folder}: changed while it was evaluated")
    bundle = load_bundle(folder)
    speaks = any(part.get("speaks") is True for part in _stages(bundle.provenance))
    # Compiled where it can be: the same tokens, sooner.
    return cast(Sampler, make_leader(folder)), FollowerPolicy(bundle.follower), speaks
