"""`robustkit clean-data`: what is wrong with training data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.values import numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rich.table import Table

    from robustkit.data.cleaning import Cleaning, Issue
    from robustkit.data.dataset import Batch, Dataset

_EVIDENCE = {
    "nan": "values",
    "range": "beyond by",
    "duplicate": "RMS apart",
    "near": "RMS apart",
    "leak": "RMS apart",
    "label": "probability",
    "outlier": "z-score",
}


@click.command("clean-data", short_help="Find copies, leaks, label errors and outliers in training data.")
@click.option("--data", required=True, help="Training data, named as for audit: digits, mnist, a folder, an .npz file.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder with the files of a named data set.")
@click.option("--split", default="train", show_default=True, help="Part of the data that is trained on.")
@click.option("--test-data", help="Test data, for leaks  [default: --data, where it has a part --test-split]")
@click.option("--test-split", default="test", show_default=True, help="Part of the data that is tested on.")
@click.option("--image-size", type=click.IntRange(1), help="Resize and crop the images of a folder.")
@click.option("--bounds", help="Lowest and highest input value  [default: the data's, mostly 0,1]")
@click.option("--near", type=click.FloatRange(0, 1), default=0.25, show_default=True,
              help="Near copies: share of the median distance between neighbours.")  # fmt: skip
@click.option("--outlier", type=click.FloatRange(0, min_open=True), default=4.0, show_default=True,
              help="Outliers: robust z-score.")  # fmt: skip
@click.option("--probabilities", type=click.Path(path_type=Path), help="For label errors: .npy (N, K) that a model"
              " gives to samples it was not trained on  [default: logistic regression, 5 folds]")  # fmt: skip
@click.option("--limit", type=click.IntRange(1), help="Only the first so many samples of each part.")
@click.option("--seed", default=0, show_default=True, help="Seed of the folds behind the label errors.")
@click.option("--show", type=click.IntRange(0), default=5, show_default=True, help="Samples to show of each kind.")
@click.option("--report", type=click.Path(path_type=Path), default=Path("robustkit-cleaning"), show_default=True,
              help="Folder for cleaning.json and cleaning.csv.")  # fmt: skip
@click.option("--drop", metavar="ISSUE,...", help="With --out: which to leave out, of nan, range, duplicate, near, "
              "leak, label, outlier.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="With --drop: .npz for what is left.")
def command(
    data: str,
    data_root: Path | None,
    split: str,
    test_data: str | None,
    test_split: str,
    image_size: int | None,
    bounds: str | None,
    near: float,
    outlier: float,
    probabilities: Path | None,
    limit: int | None,
    seed: int,
    show: int,
    report: Path,
    drop: str | None,
    out: Path | None,
) -> None:
    """Find what is wrong with data before training on them; nothing is dropped unless you ask.

    Looks for NaN and values out of range, exact and near copies, test samples in the training data, wrong labels
    (confident learning, Northcutt et al. 2021, on out-of-fold predictions), and outliers.

    \b
    Examples:
      robustkit clean-data --data digits
      robustkit clean-data --data train.npz --test-data test.npz --drop leak,duplicate --out clean.npz
    """
    from robustkit.base.write_file import write_atomically
    from robustkit.cli.shared import screen
    from robustkit.cli.shared.report_files import check_folder
    from robustkit.cli.shared.samples import read
    from robustkit.data.cleaning import KINDS, clean, known_kinds, sample_names
    from robustkit.loading.data import load_data

    kinds = known_kinds(name.strip() for name in (drop or "").split(",") if name.strip())
    if bool(kinds) != bool(out):
        raise ConfigurationError(f"--{'drop' if kinds else 'out'}: expected --drop and --out together, got one; add it")
    if out and out.suffix != ".npz":
        raise ConfigurationError(f"--out: expected a name that ends in .npz, got '{out}'; change it")
    check_folder(report)
    limits = numbers("bounds", bounds)
    if limits is not None and not (len(limits) == 2 and limits[0] < limits[1]):
        raise ConfigurationError(f"--bounds: expected two rising numbers such as 0,1, got {bounds!r}; correct it")
    source = load_data(data, data_root, split, image_size)
    other: Dataset | None = None
    if test_data is not None:
        other = load_data(test_data, data_root, test_split, image_size)
    elif source.split is not None and source.split != test_split:
        other = load_data(data, data_root, test_split, image_size)
    train, test = read(source, limit), read(other, limit) if other else None
    legal = (limits[0], limits[1]) if limits else source.bounds
    shares = None if probabilities is None else read_probabilities(probabilities)
    found = clean(train, test, bounds=legal, near=near, outlier=outlier, probabilities=shares, seed=seed)
    keep = found.keep(sample_names(train), kinds)

    console = screen.out()
    console.print(summary(found, source))
    for kind in KINDS:
        issues = [issue for issue in found.issues if issue.kind == kind]
        if issues and show:
            console.print()
            console.print(worst(kind, issues, show, source.class_names))
    if found.label_share is not None:
        agree = 100 * (found.accuracy or 0)
        click.echo(f"  about {100 * found.label_share:.1f} % of labels wrong; predictions agree with {agree:.1f} %")
    for note in found.notes:
        console.print(f"  not looked at - {note}", style="yellow", highlight=False)
    for name, text in (("cleaning.json", found.to_json()), ("cleaning.csv", found.to_csv())):
        write_atomically(report / name, text)
    click.echo(f"  report {report / 'cleaning.json'}\n  table {report / 'cleaning.csv'}")
    if out:
        if not bool(keep.any()):
            raise ConfigurationError(f"--drop: expected something to be left, got none of {len(keep)}; drop less")
        write_atomically(out, packed(train, keep))
        click.echo(f"  kept {int(keep.sum())} of {len(keep)} samples in {out}")


def read_probabilities(path: Path) -> NDArray[Any]:
    """Returns the array in an .npy file.

    Raises:
        ConfigurationError: If there is none.
    """
    import numpy as np

    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        found = None
    if not isinstance(found, np.ndarray) or found.dtype.kind != "f" or not np.isfinite(found).all():
        raise ConfigurationError(f"--probabilities: expected an .npy file of finite floats, got '{path}'; correct it")
    return found.astype(np.float64)


def summary(found: Cleaning, source: Dataset) -> Table:
    """Returns how many samples of each split have which issue."""
    from robustkit.cli.shared.screen import plain_table
    from robustkit.data.cleaning import KINDS

    sizes = f"{found.train} training" + (f" and {found.test} test samples" if found.test else " samples")
    table = plain_table(f"{source.name}: {sizes}")
    table.add_column("issue")
    table.add_column("in training", justify="right")
    table.add_column("in test", justify="right")
    table.add_column("what it is", style="dim")
    for kind, meaning in KINDS.items():
        counts = [len(found.of(kind, split)) for split in ("train", "test")]
        unseen = (kind in ("near", "leak", "outlier") and found.radius is None) or (
            kind == "label" and found.label_share is None
        )
        in_training = "-" if unseen or (kind == "leak" and not found.test) else str(counts[0])
        in_test = "-" if not found.test or kind in ("leak", "label", "outlier") else str(counts[1])
        table.add_row(kind, in_training, in_test, meaning)
    return table


def worst(kind: str, issues: list[Issue], show: int, names: tuple[str, ...] | None) -> Table:
    """Returns the first `show` issues of one kind with their evidence."""
    from rich.text import Text

    from robustkit.cli.shared.screen import plain_table

    def spelled(label: int | None) -> Text:
        return Text("" if label is None else names[label] if names and label < len(names) else str(label))

    more = f", {show} of {len(issues)}" if len(issues) > show else ""
    table = plain_table(f"{kind}{more}")
    table.add_column("sample", overflow="fold")
    table.add_column("label")
    table.add_column(_EVIDENCE[kind], justify="right")
    if kind in ("duplicate", "near", "leak"):
        table.add_column("copy of", overflow="fold")
        table.add_column("labelled")
    if kind == "label":
        table.add_column("looks like")
    for issue in issues[:show]:
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
