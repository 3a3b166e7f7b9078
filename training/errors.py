"""What can go wrong with a training run: training's branch of policy.errors.

UserMistake
  TrainingError      a run that cannot be started or resumed as asked
RunFailed
  Diverged           a loss or gradient that is not finite
  InvalidToken       a token that the grammar forbids
  NotWritten         a run that cannot be kept: a full disk
Stopped              a run that was stopped before it had anything to show
"""

from __future__ import annotations

from policy.errors import INTERRUPTED, RunFailed, StackmacError, UserMistake


class TrainingError(UserMistake):
    """A run that cannot be started or resumed as asked."""


class Stopped(StackmacError):
    """A run that was stopped, by its clock or by Ctrl-C, before it had anything to show; it can be resumed."""

    exit_status = INTERRUPTED


class Diverged(RunFailed):
    """A loss or a gradient that is not finite. The weights are those before it, and the last checkpoint is good."""


class NotWritten(RunFailed):
    """A run that cannot be kept, as on a full disk; the last checkpoint is good."""


class InvalidToken(RunFailed):
    """A token that the grammar forbids, or one of no probability: masking is broken, nothing learnt can be trusted."""
