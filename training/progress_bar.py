"""A long command's progress, with the time left."""

from __future__ import annotations


class ProgressBar:
    """Steps, figures and time left, on the error stream."""

    def __init__(self, title: str, steps: int, figures: str) -> None:
        """figures: a format string over what `show` is given."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._figures = figures
        self._progress = Progress(
            TextColumn(title),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.description}  left"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = self._progress.add_task("", total=steps)
        self._is_shown = False

    def __enter__(self) -> ProgressBar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None or self._is_shown:
            self._progress.stop()
            return
        # Nothing was done: only the mistake is to be read.
        self._progress.live.transient = True
        self._progress.live.stop()

    def show(self, done: int, *, total: int | None = None, **figures: float | str) -> None:
        """total: where it is not what was thought at the beginning."""
        self._is_shown = True
        self._progress.update(self._task, completed=done, total=total, description=self._figures.format(**figures))

    def print_line(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._progress.console.print(line, markup=False, highlight=False)
