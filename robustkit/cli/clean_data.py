"""`robustkit clean-data`: what is wrong with training data."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.base.foreign_file import parsing
from robustkit.base.per_coordinate import one_range
from robustkit.cli.shared.answer import answer, answer_file
from robustkit.cli.shared.command import Command
from robustkit.cli.shared.echo import say, say_file
from robustkit.cli.shared.options import sample_options
from robustkit.cli.shared.preprocessing import BOUNDS, read_bounds
from robustkit.cli.shared.report_files import check_folder
from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.console import Console
    from rich.table import Table

    from robustkit.data.cleaning import Cleaning, Issue
    from robustkit.data.dataset import Batch, Dataset

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


@dataclass(frozen=True)
class Plan:
    """The options of `robustkit clean-data`, by their names.

    Raises:
        ConfigurationError: If they contradict each other, or cannot be used as given.
    """

    data: str
    data_root: Path | None
    split: str
    test_data: str | None
    test_split: str
    image_size: int | None
    bounds: str | None
    near: float
    outlier: float
    probabilities: Path | None
    samples: Choice
    seed: int
    show: int
    report: Path
    drop: str | None
    out: Path | None

    def __post_init__(self) -> None:
        if bool(self.kinds) != bool(self.out):
            option = "drop" if self.kinds else "out"
            raise ConfigurationError(f"--{option}: expected --drop and --out together, got one; add it")
        if self.out and self.out.suffix != ".npz":
            raise ConfigurationError(f"--out: expected a name that ends in .npz, got '{self.out}'; change it")
        check_folder(self.report)
        read_bounds(self.bounds)

    @property
    def kinds(self) -> set[str]:
        """Which samples to leave out."""
        from robustkit.data.cleaning import known_kinds

        return known_kinds(name.strip() for name in (self.drop or "").split(",") if name.strip())


@click.command(
    "clean-data", cls=Command, short_help="Find duplicates, leaks, label errors and outliers in training data."
)
@click.option("--data", required=True, help="Training data, given as for audit: digits, mnist, a folder, an .npz file.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the files of a named data set.")
@click.option("--split", default="train", show_default=True, help="Split that is trained on.")
@click.option("--test-data", help="Test data, for leaks  [default: --data, if it has the split --test-split]")
@click.option("--test-split", default="test", show_default=True, help="Split that is tested on.")
@click.option("--image-size", type=click.IntRange(1), help="Resize and crop the images of a folder.")
@BOUNDS
@click.option("--near", type=click.FloatRange(0, 1), default=0.25, show_default=True,
              help="Near duplicates: fraction of the median distance between neighbours.")  # fmt: skip
@click.option("--outlier", type=click.FloatRange(0, min_open=True), default=4.0, show_default=True,
              help="Outliers: robust z-score.")  # fmt: skip
@click.option("--probabilities", type=click.Path(path_type=Path), help="For label errors: .npy (N, K) that a model"
              " gives to samples it was not trained on  [default: logistic regression, 5 folds]")  # fmt: skip
@sample_options()
@click.option("--seed", default=0, show_default=True, help="Seed of the draw and of the folds behind the label errors.")
@click.option("--show", type=click.IntRange(0), default=5, show_default=True, help="Samples to show of each kind.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("robustkit-cleaning"), show_default=True,
              help="Folder for cleaning.json and cleaning.csv.")  # fmt: skip
@click.option("--drop", metavar="ISSUE,...", help="With --out: which to leave out, of nan, range, duplicate, near, "
              "leak, label, outlier.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="With --drop: .npz file for what is left.")
def command(**options: Any) -> None:
    """Find what is wrong with data before training on them; nothing is dropped unless you ask.

    Looks for NaN and values out of range, exact and near duplicates, test samples in the training data, wrong labels
    (confident learning, Northcutt et al. 2021, on out-of-fold predictions), and outliers.

    \b
    Examples:
      robustkit clean-data --data digits
      robustkit clean-data --data train.npz --test-data test.npz \\
          --drop leak,duplicate --out clean.npz
    """
    from robustkit.cli.shared import terminal
    from robustkit.data.cleaning import sample_names

    plan = Plan(**options)
    source, train, test = read_data(plan)
    found = find(plan, source, train, test)
    keep = found.keep(sample_names(train), plan.kinds)
    print_findings(terminal.out(), found, source, plan.show)
    write_findings(plan.report, found)
    write_cleaning_page(plan, source.name, found)
    if plan.out:
        if not bool(keep.any()):
            raise ConfigurationError(f"--drop: expected something to be left, got none of {len(keep)}; drop less")
        write_kept(plan.out, train, keep)


def read_data(plan: Plan) -> tuple[Dataset, Batch, Batch | None]:
    """Returns where the training data come from, all of them, and the test data, if there are any."""
    from robustkit.cli.shared.samples import read
    from robustkit.loading.data import load_data

    bounds = read_bounds(plan.bounds)
    source = load_data(plan.data, plan.data_root, plan.split, plan.image_size, bounds=bounds)
    has_test_split = source.split is not None and source.split != plan.test_split
    test_data = plan.test_data or (plan.data if has_test_split else None)
    train = read(plan.samples.of(source, plan.seed))
    if test_data is None:
        return source, train, None
    test = load_data(test_data, plan.data_root, plan.test_split, plan.image_size, bounds=bounds)
    return source, train, read(plan.samples.of(test, plan.seed))


def find(plan: Plan, source: Dataset, train: Batch, test: Batch | None) -> Cleaning:
    """Returns what is wrong with the data."""
    from robustkit.data.cleaning import clean

    return clean(
        train,
        test,
        bounds=read_bounds(plan.bounds) or one_range("clean-data", source.bounds),
        near=plan.near,
        outlier=plan.outlier,
        probabilities=None if plan.probabilities is None else read_probabilities(plan.probabilities),
        seed=plan.seed,
    )


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
        console.print(f"  about {100 * found.label_share:.1f} % of labels wrong; predictions agree with {agree:.1f} %")
    for note in found.notes:
        console.print(f"  not checked - {note}", style="yellow", highlight=False)


def write_findings(folder: Path, found: Cleaning) -> None:
    """Writes cleaning.json and cleaning.csv, and says where."""
    from robustkit.base.write_file import write_atomically

    text = found.to_json()
    answer(lambda: json.loads(text))
    say_file(write_atomically(folder / "cleaning.json", text), "report")
    say_file(write_atomically(folder / "cleaning.csv", found.to_csv()), "table")


def write_cleaning_page(plan: Plan, name: str, found: Cleaning) -> None:
    """Writes the same as a page."""
    from robustkit.cli.shared.page import write_page
    from robustkit.data.cleaning import KINDS

    kinds = {kind: [issue for issue in found.issues if issue.kind == kind] for kind in KINDS}
    tables = {f"{kind}: {KINDS[kind]}": worst(kind, issues[:_LISTED], None) for kind, issues in kinds.items() if issues}
    step = f"Train on what was kept: robustkit train MODEL --data {plan.out}" if plan.out else (
        "Look at the samples listed; --drop KIND --out FILE.npz writes the data without them."
    )  # fmt: skip
    write_page(
        plan.report / "cleaning.html",
        "Data cleaning",
        f"{name}: {found.train:,} training and {found.test:,} test samples",
        {"Training samples with an issue": f"{len({i.id for i in found.issues if i.split == 'train'}):,}",
         "Test samples with an issue": f"{len({i.id for i in found.issues if i.split == 'test'}):,}"},
        {"Issues": summary(found), **tables},
        [f"Not checked: {note}" for note in found.notes],
        [(step, None)],
    )  # fmt: skip


def write_kept(out: Path, train: Batch, keep: Any) -> None:
    """Writes the samples that are kept, and says how many."""
    from robustkit.base.write_file import write_atomically

    answer(kept=int(keep.sum()))
    answer_file(write_atomically(out, packed(train, keep)))
    say(f"  kept {int(keep.sum())} of {len(keep)} samples in {out}")


def read_probabilities(path: Path) -> NDArray[Any]:
    """Returns the array in an .npy file.

    Raises:
        ConfigurationError: If there is none.
    """
    import numpy as np

    with parsing("--probabilities", "an .npy file of finite floats", "correct it", f"'{path}'"):
        # Mapped, because a header can claim more than the file holds.
        found = np.load(path, mmap_mode="r", allow_pickle=False)
        if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise ValueError("something else")
    return found.astype(np.float64)


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
        return found.label_share is not None
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


def packed(data: Batch, keep: object) -> bytes:
    """Returns the kept samples as the bytes of an .npz file with images, labels and ids."""
    import numpy as np
    import torch

    assert isinstance(keep, torch.Tensor)
    x = data.x[keep]
    grey = (x * 255).round().clamp(0, 255).to(torch.uint8)
    stored = grey if bool((grey.float() / 255 == x).all()) else x  # bytes, where they say the same
    names = {} if data.names is None else {"names": np.array(data.names)[keep.numpy()]}
    file = io.BytesIO()
    np.savez_compressed(file, images=stored.numpy(), labels=data.y[keep].numpy(), ids=data.ids[keep].numpy(), **names)
    return file.getvalue()
