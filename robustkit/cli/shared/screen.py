"""What people see: progress on standard error while it runs, tables on standard output when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from robustkit.bundle import Verification
from robustkit.checks.diagnostic import Diagnostic
from robustkit.defenses.training import Epoch, Training, TrainingProgress
from robustkit.evaluation.progress import Progress as Stage
from robustkit.maths.intervals import Proportion
from robustkit.probes.closed_form import Finding
from robustkit.probes.planted import Planted
from robustkit.report import Audit

_COLOURS = {"pass": "green", "remark": "yellow", "fail": "bold red", "not run": "dim"}


def out() -> Console:
    """Returns standard output; results are printed there and nothing else."""
    return Console(highlight=False, soft_wrap=False)


class Bar:
    """One line of progress."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("starting", total=None, note="")

    def evaluation(self, name: str = "") -> Callable[[Stage], None]:
        """Returns what `evaluate` calls as it goes."""
        prefix = f"{name}: " if name else ""

        def show(stage: Stage) -> None:
            note = f"still right {100 * stage.robust / stage.seen:.1f} %" if stage.seen else ""
            self._set(prefix + stage.stage, stage.done, stage.total, note)

        return show

    def training(self, name: str, lines: bool = False) -> Callable[[TrainingProgress], None]:
        """Returns what `fit` calls as it goes; with `lines`, every epoch leaves one."""
        told = 0

        def show(now: TrainingProgress) -> None:
            nonlocal told
            last = now.last
            done = (now.epoch - 1) * now.batches + now.batch
            note = f"loss {now.loss:.3f}" + (_accuracies(last) if last else "")
            self._set(f"{name}: epoch {now.epoch}/{now.epochs}", done, now.epochs * now.batches, note)
            if lines and last and last.number > told:
                told = last.number
                line = f"epoch {told:>3}/{now.epochs}  loss {last.loss:.3f}{_accuracies(last)}  {last.seconds:.0f} s"
                self._progress.console.print(line, highlight=False)

        return show

    def count(self, what: str, done: int, total: int | None, note: str = "") -> None:
        """Shows that `done` of `total` pieces are done."""
        self._set(what, done, total, note)

    def _set(self, what: str, done: int, total: int | None, note: str) -> None:
        self._progress.update(self._task, description=what, completed=done, total=total, note=note)


def _accuracies(epoch: Epoch) -> str:
    figures = epoch.figures
    if figures is None:
        return ""
    robust = f"  robust {100 * figures.robust:.1f} %" if figures.robust == figures.robust else ""
    return f"  clean {100 * figures.clean:.1f} %{robust}"


@contextmanager
def progress(quiet: bool = False) -> Iterator[Bar]:
    """Context with a progress bar on standard error; silent unless that is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description:<28}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("[dim]{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        yield Bar(bar)


def plain_table(title: str) -> Table:
    """Returns an empty table without lines under a title."""
    heading = Text(title, style="bold")
    return Table(box=None, padding=(0, 2), title=heading, title_justify="left", header_style="dim", show_edge=False)


def share(value: Proportion) -> Text:
    """Returns "65.3 %  60.5-69.7" with the interval dimmed."""
    if value.value is None:
        return Text("-")
    low, high = value.wilson
    return Text.assemble(f"{100 * value.value:5.1f} %", (f"  {100 * low:.1f}-{100 * high:.1f}", "dim"))


def audit_table(audit: Audit) -> Table:
    """Returns clean accuracy, every attack and the worst case."""
    table = Table(box=None, padding=(0, 2), title_justify="left", header_style="dim", title_style="bold")
    table.title = Text(f"{audit.subject.name} on {audit.data.name}, {audit.threat.norm} {audit.threat.eps}")
    table.add_column("")
    table.add_column("accuracy, 95 % interval")
    table.add_column("right", justify="right")
    table.add_column("success", justify="right")
    table.add_column("time", justify="right")
    table.add_row("clean", share(audit.clean), _counts(audit.clean), "", "")
    for attack in audit.attacks:
        success = attack.attack_success.value
        table.add_row(
            Text(attack.name),
            share(attack.accuracy),
            _counts(attack.accuracy),
            "-" if success is None else f"{100 * success:.1f} %",
            f"{attack.seconds:.1f} s",
        )
    worst = audit.worst_case
    hit = worst.attack_success.value
    table.add_row(
        Text("robust", style="bold"),
        share(worst.accuracy),
        _counts(worst.accuracy),
        "-" if hit is None else f"{100 * hit:.1f} %",
        f"{sum(attack.seconds for attack in audit.attacks):.1f} s",
    )
    return table


def audit_notes(audit: Audit) -> Text:
    """Returns calibration and the quality of the evaluation in two lines."""
    pair, quality = audit.calibration, audit.verdict.quality
    colour = {"reliable": "green", "reliable with remarks": "yellow"}.get(quality, "bold red")
    lines = Text.assemble(
        f"  ECE {pair.clean.ece.value:.3f} clean, {pair.attacked.ece.value:.3f} attacked ",
        (f"(calibrated: {pair.clean.ece_if_calibrated.mean:.3f}, {pair.attacked.ece_if_calibrated.mean:.3f})", "dim"),
        "\n  protocol ",
        audit.method.protocol,
        (f" ({audit.method.fingerprint})", "dim"),
        ", evaluation ",
        (quality, colour),
    )
    if audit.worst_case.anytime is not None:
        low, high = audit.worst_case.anytime
        lines.append(f"\n  {audit.data.selection}; interval {100 * low:.1f}-{100 * high:.1f} % allows for that")
    if audit.worst_case.stored is not None:
        lines.append(f"\n  rounded to 8 bits {audit.worst_case.stored}")
    if audit.curve:
        path = ", ".join(f"{100 * (p.accuracy.value or 0):.1f} % at {p.eps}" for p in audit.curve.points)
        lines.append(f"\n  curve of {audit.curve.points[0].accuracy.n} samples {path}")
    if audit.nearest and (median := audit.nearest.deciles[4]) is not None:
        lines.append(f"\n  half of the samples can be broken within {audit.nearest.norm} {median:.4g}")
    for item in audit.diagnostics:
        if item.status in ("remark", "fail"):
            lines.append_text(
                Text.assemble("\n  ", (f"{item.id} {item.status}: ", _COLOURS[item.status]), item.message)
            )
    return lines


def training_text(training: Training, name: str, threat: str) -> Text:
    """Returns what came of a run and what the guards found."""
    chosen = training.best or (training.epochs[-1] if training.epochs else None)
    lines = Text(f"{name}, {threat}", style="bold")
    if chosen:
        figures = chosen.figures
        lines.append(f"\n  epoch {chosen.number} of {len(training.epochs)}{_accuracies(chosen)}", style="not bold")
        if figures:
            lines.append(f" (PGD, {figures.n} samples {'held out' if training.best else 'seen'})", style="dim not bold")
    if training.stopped:
        lines.append(f"\n  stopped: {training.stopped}", style="not bold yellow")
    for finding in training.findings:
        lines.append(f"\n  {finding}", style="not bold " + ("bold red" if finding.fatal else "yellow"))
    return lines


def diagnostics_table(found: tuple[Diagnostic, ...]) -> Table:
    """Returns the checks with their status and message."""
    table = Table(box=None, padding=(0, 2), header_style="dim")
    for name in ("", "check", "status", "found"):
        table.add_column(name)
    for item in found:
        table.add_row(item.id, item.title, Text(item.status, style=_COLOURS[item.status]), Text(item.message))
    return table


def findings_table(found: Sequence[tuple[str, Finding]]) -> Table:
    """Returns what attacks, each with its name, found on models whose nearest adversarial input is a formula."""
    # Narrower than the other tables, so that the names of foolbox fit into 80 columns.
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="dim")
    table.add_column("attack", overflow="fold")
    table.add_column("norm")
    table.add_column("found outside")
    table.add_column("inside", justify="right")
    table.add_column("verdict")
    for name, item in found:
        where = f" at {item.reach:g}x" if item.required else ", need not"
        table.add_row(
            Text(name),
            item.attack.norm,
            Text.assemble(f"{_counts(item.outside):>8}", (where, "dim")),
            _counts(item.inside),
            Text(item.verdict, style=_COLOURS[item.verdict]),
        )
    return table


def planted_table(result: Planted) -> Table:
    """Returns how many planted adversarial inputs each attack found, all of them together, and random search."""
    table = Table(box=None, padding=(0, 1, 0, 2), header_style="dim")
    table.add_column("attack", overflow="fold")
    table.add_column("planted inputs found", justify="right")
    table.add_column("verdict")
    for name, hits in result.by_attack.items():
        table.add_row(Text(name), _counts(hits), "")
    verdict = Text(result.verdict, style=_COLOURS[result.verdict])
    table.add_row(Text("together", style="bold"), _counts(result.success), verdict)
    table.add_row(Text("random search", style="dim"), _counts(result.random), "")
    return table


def _counts(value: Proportion) -> str:
    return f"{value.k} of {value.n}"


def verification_table(result: Verification, name: str) -> Table:
    """Returns what was checked, and whether it holds."""
    table = plain_table(name)
    for column in ("", "checked", ""):
        table.add_column(column, no_wrap=column == "")
    colours = {"holds": "green", "false": "bold red", "not checked": "yellow"}
    told = ""
    for item in result.checks:
        table.add_row(
            Text(item.level if item.level != told else "", style="bold"),
            Text(item.what),
            Text(item.status, style=colours[item.status]),
        )
        told = item.level
    return table


def verification_notes(result: Verification, reasons: Sequence[str]) -> Text:
    """Returns what is false, what is no more than noise, and what was or can not be checked, one line each.

    `reasons` say why models or data could not be loaded.
    """
    lines = Text()
    missing = {"no data", "no model"} if reasons else set()
    why = [*reasons, *(item.note for item in result.checks if item.note and item.note not in missing)]
    for mismatch in result.false:
        lines.append_text(Text.assemble("\n  ", ("false: ", "bold red"), str(mismatch)))
    for remark in result.remarks:
        lines.append_text(Text.assemble("\n  ", ("remark: ", "yellow"), remark))
    for reason in dict.fromkeys(why):
        lines.append_text(Text.assemble("\n  ", ("not checked: ", "yellow"), reason))
    lines.append("\n  taken on trust:", style="dim")
    for claim in result.trusted:
        lines.append(f"\n  - {claim}", style="dim")
    return lines
