"""Anyone's own leader as a player: `module:Class`, as the subject or as a baseline; and `_smart` rows in a scenario of
one's own, which are tuned when they are asked for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policy.errors import UserMistake
from policy.plug_ins.loading import import_plug_in, is_plug_in
from policy.registry import check_leader
from training.baselines.own_table import contenders_beside
from training.baselines.players import Named, Player, Tuned, make_baselines
from training.command_line.values import names_in
from training.evaluation.bundle_players import Entry


def enter_plug_in(name: str, followers: str) -> Entry:
    """What the evaluation is about, where that is a leader of one's own. Raises UserMistake, LeaderError."""
    if followers != "rule":
        raise UserMistake(f"--followers is {followers!r}, but {name} is a leader without followers: expected rule")
    check_leader(name)
    return Entry(name, (), (), [Player(name, (Named(name),), baseline=False)], (described(name),))


def make_players(against: str) -> list[Player]:
    """Baselines by name, plug-ins among them, in the order given. Raises UserMistake, LeaderError."""
    names = list(dict.fromkeys(names_in(against)))
    own = {name: Player(name, (Named(name),)) for name in names if is_plug_in(name)}
    for name in own:
        check_leader(name)
    others = [name for name in names if name not in own]
    if own and not others:
        return list(own.values())
    rules = make_baselines(",".join(others) if own else against)
    by_name = {player.name: player for player in rules} | own
    return [*dict.fromkeys(by_name[name] for name in names if name in by_name)] if own else rules


def described(name: str) -> dict[str, Any]:
    """A plug-in as a result file names it: by its code, too."""
    return {"player": name, "name": name, "digest": plug_in_digest(name)}


def plug_in_digest(name: str) -> str:
    """sha256 of the module's file; "" = there is no such file."""
    module = name.partition(":")[0]
    import_plug_in(module)
    spec = find_spec(module)
    if spec is None or not spec.origin or not Path(spec.origin).is_file():
        return ""
    return hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()


def tuned_on_the_spot(
    players: Sequence[Player],
    scenario_file: str,
    scenario: Any,
    ues: Sequence[int],
    on_tuned: Callable[[str, int], None],
) -> list[Player]:
    """The players, those whose c is tuned contending at that of the table beside the file."""
    wanted = [play.player for player in players for play in player.plays[:1] if isinstance(play, Tuned)]
    table = contenders_beside(scenario_file, scenario, wanted, ues, on_tuned)
    return [player._replace(plays=tuple(_at(play, table) for play in player.plays)) for player in players]


def _at(play: Any, table: Mapping[str, Mapping[int, float]]) -> Any:
    if not isinstance(play, Tuned) or play.player not in table:
        return play
    return replace(play, own_contenders=tuple(table[play.player].items()))
