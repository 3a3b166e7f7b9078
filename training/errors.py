"""What can go wrong with a training run. One line each; the command prints it.

ValueError
  TrainingError        a run that cannot be started or resumed as asked
    RunFailed          one that must not go on
      Diverged         a loss or gradient that is not finite
      InvalidToken     a token that the grammar forbids
"""

from __future__ import annotations


class TrainingError(ValueError):
    """A run that cannot be started or resumed as asked."""


class Stopped(TrainingError):
    """A run that was stopped, by its clock or by Ctrl-C, before it had anything to show; it can be resumed."""


class RunFailed(TrainingError):
    """A run that must not go on; its last checkpoint is good."""


class Diverged(RunFailed):
    """A loss or a gradient that is not finite. The weights are those before it."""


class InvalidToken(RunFailed):
    """A token that the grammar forbids, or one of no probability: masking is broken, nothing learnt can be trusted."""
