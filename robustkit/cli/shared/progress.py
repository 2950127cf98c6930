"""Progress on standard error while a command runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from robustkit.cli.shared.answer import as_json
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.terminal import Safe, percent

if TYPE_CHECKING:
    from robustkit.defenses.training import Epoch, TrainingProgress
    from robustkit.evaluation.progress import Progress as Stage


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, note="")

    def evaluation(self, name: str = "") -> Callable[[Stage], None]:
        """Returns what `evaluate` calls as it goes."""
        prefix = f"{name}: " if name else ""

        def show(stage: Stage) -> None:
            note = f"robust so far {percent(stage.robust / stage.seen)}" if stage.seen else ""
            self.count(prefix + stage.stage, stage.done, stage.total, note)

        return show

    def training(self, name: str, lines: bool = False) -> Callable[[TrainingProgress], None]:
        """Returns what `fit` calls as it goes; with `lines`, every epoch leaves one."""
        told = 0

        def show(now: TrainingProgress) -> None:
            nonlocal told
            last = now.last
            done = (now.epoch - 1) * now.batches + now.batch
            note = f"loss {now.loss:.3f}" + (accuracies(last) if last else "")
            self.count(f"{name}: epoch {now.epoch}/{now.epochs}", done, now.epochs * now.batches, note)
            if lines and last and last.number > told:
                told = last.number
                line = f"epoch {told:>3}/{now.epochs}  loss {last.loss:.3f}{accuracies(last)}  {last.seconds:.0f} s"
                self._progress.console.print(line, highlight=False)

        return show

    def count(self, what: str, done: int, total: int | None, note: str = "") -> None:
        """Shows that `done` of `total` pieces are done."""
        self._progress.update(self._task, description=what, completed=done, total=total, note=note)


@contextmanager
def progress(quiet: bool = False) -> Iterator[Bar]:
    """Context with a progress bar on standard error; silent unless that is a terminal."""
    console = Safe(stderr=True)
    columns = (
        TextColumn("{task.description:<28}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    silent = quiet or not console.is_terminal
    bar = Progress(*columns, console=console, transient=True, disable=silent)
    with nullcontext() if silent else bar:  # older versions of rich end even a disabled bar with a line feed
        yield Bar(bar)


@contextmanager
def told(quiet: bool = False) -> Iterator[None]:
    """Context in which what `evaluate` has to tell, such as the clean accuracy before any attack, is printed."""
    logger, handler = logging.getLogger("robustkit"), _Lines()
    level = logger.level
    try:
        if not quiet:
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Lines(logging.Handler):
    """Prints what is worth telling; warnings go their own way."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.INFO:
            say(record.getMessage(), err=as_json())


def accuracies(epoch: Epoch) -> str:
    """Returns the clean and robust accuracy after an epoch, as far as they were measured."""
    figures = epoch.figures
    if figures is None:
        return ""
    measured = figures.robust == figures.robust
    return f"  clean {percent(figures.clean)}" + (f"  robust {percent(figures.robust)}" if measured else "")
