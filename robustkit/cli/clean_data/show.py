"""What `robustkit clean-data` shows: on the terminal, and as a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console
    from rich.table import Table

    from robustkit.data.cleaning import Cleaning, Issue
    from robustkit.data.dataset import Dataset

_LISTED = 100  # issues of a kind on the page
_EVIDENCE = {
    "nan": "values",
    "range": "beyond by",
    "duplicate": "RMS apart",
    "near": "RMS apart",
    "leak": "RMS apart",
    "label": "probability",
    "outlier": "z-score",
}


def print_findings(console: Console, found: Cleaning, source: Dataset, show: int) -> None:
    """Prints the summary, then `show` samples of each kind, then what was not checked."""
    from robustkit.cli.shared.terminal import print_titled
    from robustkit.data.cleaning import KINDS

    sizes = f"{found.train} training" + (f" and {found.test} test samples" if found.test else " samples")
    print_titled(console, f"{source.name}: {sizes}", summary(found))
    for kind in KINDS:
        issues = [issue for issue in found.issues if issue.kind == kind]
        if issues and show:
            console.print()
            more = f", {show} of {len(issues)}" if len(issues) > show else ""
            print_titled(console, f"{kind}{more}", worst(kind, issues[:show], source.class_names))
    if found.label_share is not None:
        agree = 100 * (found.accuracy or 0)
        share = 100 * found.label_share
        console.print(f"  about {share:.1f} % of labels wrong; predictions agree with {agree:.1f} %")
        console.print(f"  predictions: {found.judge}, out of fold", highlight=False)
    for note in found.notes:
        console.print(f"  not checked - {note}", style="yellow", highlight=False)


def write_cleaning_page(page: Path, name: str, found: Cleaning, model: str, kept: Path | None) -> None:
    """Writes the same as a page, with how to train on what was kept, if something was written."""
    from robustkit.cli.shared.page import write_page
    from robustkit.data.cleaning import KINDS

    kinds = {kind: [issue for issue in found.issues if issue.kind == kind] for kind in KINDS}
    tables = {f"{kind}: {KINDS[kind]}": worst(kind, issues[:_LISTED], None) for kind, issues in kinds.items() if issues}
    step = f"Train on what was kept: robustkit train {model or 'MODEL'} --data {kept}" if kept else (
        "Look at the samples listed; --drop KIND --out FILE.npz writes the data without them."
    )  # fmt: skip
    write_page(
        page,
        "Data cleaning",
        f"{name}: {found.train:,} training and {found.test:,} test samples",
        {"Training samples with an issue": f"{len({i.id for i in found.issues if i.split == 'train'}):,}",
         "Test samples with an issue": f"{len({i.id for i in found.issues if i.split == 'test'}):,}"},
        {"Issues": summary(found), **tables},
        [
            f"Labels were judged by out-of-fold predictions ({found.judge}).",
            *(f"Not checked: {note}" for note in found.notes),
        ],
        [(step, None)],
    )  # fmt: skip


def summary(found: Cleaning) -> Table:
    """Returns how many samples of each split have which issue."""
    from robustkit.cli.shared.terminal import plain_table
    from robustkit.data.cleaning import KINDS

    table = plain_table("issue", "in training", "in test", "what it is", left=["issue", "what it is"])
    table.columns[-1].style = "dim"
    for kind, meaning in KINDS.items():
        in_training = str(len(found.of(kind, "train"))) if _looked_for(kind, found) else "-"
        in_test = str(len(found.of(kind, "test"))) if found.test and kind not in ("leak", "label", "outlier") else "-"
        table.add_row(kind, in_training, in_test, meaning)
    return table


def _looked_for(kind: str, found: Cleaning) -> bool:
    """Returns whether the training data could be searched for issues of this kind."""
    if kind == "label":
        return found.label_share is not None or bool(found.of("label"))
    if kind == "leak" and not found.test:
        return False
    return kind not in ("near", "leak", "outlier") or found.radius is not None


def worst(kind: str, issues: list[Issue], names: tuple[str, ...] | None) -> Table:
    """Returns some issues of one kind with their evidence."""
    from rich.text import Text

    from robustkit.cli.shared.terminal import plain_table

    def spelled(label: int | None) -> Text:
        return Text("" if label is None else names[label] if names and label < len(names) else str(label))

    columns = ["sample", "label", _EVIDENCE[kind]]
    columns += ["copy of", "labelled"] if kind in ("duplicate", "near", "leak") else []
    columns += ["suggested"] if kind == "label" else []
    table = plain_table(*columns, left=[column for column in columns if column != _EVIDENCE[kind]])
    for column in table.columns:
        column.overflow = "fold" if column.header in ("sample", "copy of") else "ellipsis"
    for issue in issues:
        cells = [Text(f"{issue.split} {issue.id}"), spelled(issue.label), Text(f"{issue.score:.4g}")]
        if issue.partner:
            cells += [Text(issue.partner), spelled(issue.partner_label)]
        if kind == "label":
            cells.append(spelled(issue.suggestion))
        table.add_row(*cells)
    return table
