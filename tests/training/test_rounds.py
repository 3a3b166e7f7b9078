"""How rounds of updates end: where they are done, at an update that is asked for, or wherever Ctrl-C comes."""

from __future__ import annotations

import pytest

from training.rounds import Clock, Ending, run_rounds


class Counting:
    """A run of six updates in rounds of two that notes what it is asked for; one of these is interrupted."""

    def __init__(self, interrupted: str = "", made: int = 0) -> None:
        self.made, self._interrupted, self._begun = made, interrupted, made
        self.calls: list[str] = []

    @property
    def is_done(self) -> bool:
        return self.made >= 6

    @property
    def is_in_round(self) -> bool:
        return self.made < self._begun

    def _asked(self, what: str) -> None:
        self.calls.append(what)
        if what == self._interrupted:
            raise KeyboardInterrupt

    def begin_round(self) -> None:
        self._asked(f"begin {self.made}")
        self._begun = self.made + 2

    def learn(self) -> int:
        self._asked(f"learn {self.made}")
        return self.made

    def record(self, report: int) -> None:
        self.made += 1
        self._asked(f"record {report}")

    def save(self) -> None:
        self._asked(f"save {self.made}")

    def end(self) -> None:
        self._asked("end")


@pytest.mark.parametrize("where", ["save 2", "begin 2", "learn 3"])
def test_ctrl_c_anywhere_before_an_update_is_counted_leaves_what_was_saved_last(where: str) -> None:
    run = Counting(where)
    assert run_rounds(run, Clock()) == Ending(complete=False, is_asked=True, within_update=True)
    assert run.calls[-1] == where


def test_ctrl_c_while_an_update_is_shown_keeps_it() -> None:
    run = Counting("record 2")
    assert run_rounds(run, Clock()) == Ending(complete=False, is_asked=True)
    assert run.calls[-2:] == ["record 2", "save 3"]


@pytest.mark.parametrize("made", [0, 3])
def test_a_run_stops_where_its_caller_says_and_makes_nothing_where_it_is_there_already(made: int) -> None:
    run = Counting(made=made)
    assert run_rounds(run, Clock(), until=3) == Ending(complete=False, is_asked=False)
    assert (run.made, run.calls[-1]) == (3, "save 3")
    assert (len(run.calls) == 1) == (made == 3)
