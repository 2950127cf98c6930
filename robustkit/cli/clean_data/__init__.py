"""`robustkit clean-data`: what is wrong with training data."""

from __future__ import annotations

import dataclasses
import functools
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
from robustkit.cli.shared.echo import say, say_file
from robustkit.cli.shared.model_and_data import ModelOptions
from robustkit.cli.shared.options import optional_training_options, sample_options
from robustkit.cli.shared.preprocessing import read_bounds
from robustkit.cli.shared.recipe_options import RecipeCommand, defaults, recipe_of
from robustkit.cli.shared.report_files import check_folder
from robustkit.cli.shared.samples import Choice

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.cli.shared.progress import Bar
    from robustkit.data.cleaning import Cleaning
    from robustkit.data.cleaning_arguments import Predict
    from robustkit.data.dataset import Batch, Dataset
    from robustkit.defenses.training import Recipe


@dataclass(frozen=True)
class Loaded:
    """The training data, and the network that judges their labels, if one was named."""

    dataset: Dataset
    model: ModelAndData | None = None


@dataclass(frozen=True)
class Plan:
    """The options of `robustkit clean-data`, by their names.

    Raises:
        ConfigurationError: If they contradict each other, or cannot be used as given.
    """

    model: ModelOptions
    folds: int | None
    recipe: Recipe | None
    quiet: bool
    test_data: str | None
    test_split: str
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
        if not self.model.model and (self.folds or self.recipe):
            raise ConfigurationError("clean-data: expected MODEL with --folds and how to train, got none; name it")
        if self.model.model and self.probabilities:
            raise ConfigurationError("--probabilities: expected them or MODEL, got both; leave one out")
        check_folder(self.report)
        read_bounds(self.model.bounds)

    @property
    def kinds(self) -> set[str]:
        """Which samples to leave out."""
        from robustkit.data.cleaning import known_kinds

        return known_kinds(name.strip() for name in (self.drop or "").split(",") if name.strip())


@click.command(
    "clean-data", cls=RecipeCommand, short_help="Find duplicates, leaks, label errors and outliers in training data."
)
@optional_training_options
@click.option("--folds", type=click.IntRange(2), help="With MODEL: it is trained anew with each of so many parts left"
              " out, and judges the labels of that part.  [default: 3]")  # fmt: skip
@click.option("--test-data", help="Test data, for leaks  [default: --data, if it has the split --test-split]")
@click.option("--test-split", default="test", show_default=True, help="Split that is tested on.")
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
@click.option("--quiet", is_flag=True, help="No progress.")
def command(**options: Any) -> None:
    """Find what is wrong with data before training on them; nothing is dropped unless you ask.

    Looks for NaN and values out of range, exact and near duplicates, test samples in the training data, wrong labels
    (confident learning, Northcutt et al. 2021, on out-of-fold predictions), and outliers. Labels of natural images need
    a MODEL, named as for `robustkit train`, which is trained once per fold.

    \b
    Examples:
      robustkit clean-data --data digits
      robustkit clean-data --data train.npz --test-data test.npz \\
          --drop leak,duplicate --out clean.npz
      robustkit clean-data preact_resnet18 --data photos/train \\
          --image-size 64 --folds 3 --epochs 30
    """
    from robustkit.cli.clean_data.show import print_findings, write_cleaning_page
    from robustkit.cli.shared import terminal
    from robustkit.data.cleaning import sample_names

    settings = {name: options.pop(name) for name in defaults() if name in options and name != "seed"}
    recipe = None
    if any(value is not None for value in settings.values()):
        recipe = recipe_of({**settings, "seed": options["seed"]})
    plan = Plan(recipe=recipe, **options)
    source, train, test = read_data(plan)
    found = find(plan, source, train, test)
    keep = found.keep(sample_names(train), plan.kinds)
    print_findings(terminal.out(), found, source.dataset, plan.show)
    write_findings(plan.report, found)
    page = plan.report / "cleaning.html"
    write_cleaning_page(page, source.dataset.name, found, plan.model.model, plan.out)
    if plan.out:
        if not bool(keep.any()):
            raise ConfigurationError(f"--drop: expected something to be left, got none of {len(keep)}; drop less")
        write_kept(plan.out, train, keep)


def read_data(plan: Plan) -> tuple[Loaded, Batch, Batch | None]:
    """Returns where the training data come from and the network, all training samples, and the test data, if any."""
    from robustkit.cli.shared.samples import read

    loaded = _load(plan.model)
    split = loaded.dataset.split
    test_data = plan.test_data or (plan.model.data if split not in (None, plan.test_split) else None)
    train = read(plan.samples.of(loaded.dataset, plan.seed))
    if test_data is None:
        return loaded, train, None
    test = _load(dataclasses.replace(plan.model, data=test_data, split=plan.test_split)).dataset
    return loaded, train, read(plan.samples.of(test, plan.seed))


def _load(options: ModelOptions) -> Loaded:
    """Returns the data, prepared for the network where there is one."""
    from robustkit.loading.data import load_data

    if options.model:
        loaded = options.load()
        return Loaded(loaded.dataset, loaded)
    bounds = read_bounds(options.bounds)
    return Loaded(load_data(options.data, options.data_root, options.split, options.image_size, bounds=bounds))


def find(plan: Plan, source: Loaded, train: Batch, test: Batch | None) -> Cleaning:
    """Returns what is wrong with the data."""
    from robustkit.cli.shared.progress import progress
    from robustkit.data.cleaning import clean

    with progress(plan.quiet) as bar:
        probabilities = None if plan.probabilities is None else read_probabilities(plan.probabilities)
        found = clean(
            train,
            test,
            bounds=read_bounds(plan.model.bounds) or one_range("clean-data", source.dataset.bounds),
            near=plan.near,
            outlier=plan.outlier,
            probabilities=_predictor(plan, source.model, bar) if source.model else probabilities,
            seed=plan.seed,
        )
    return dataclasses.replace(found, judge=f"{plan.model.model} trained per fold") if source.model else found


def _predictor(plan: Plan, loaded: ModelAndData, bar: Bar) -> Predict:
    """Returns what trains the network once per fold and predicts what was left out."""
    from robustkit.defenses.training import Recipe
    from robustkit.defenses.training.out_of_fold import out_of_fold

    if loaded.weights and not plan.model.replace_head:
        say(f"robustkit: every fold begins with {loaded.weights}; if these weights were trained on the same samples,"
            " they know the wrong labels, too, and hide them", err=True)  # fmt: skip
    return functools.partial(
        out_of_fold,
        loaded.classifier,
        folds=plan.folds or 3,
        recipe=plan.recipe or Recipe(seed=plan.seed),
        progress=lambda number, count, now: bar.training(f"fold {number} of {count}")(now),
    )


def write_findings(folder: Path, found: Cleaning) -> None:
    """Writes cleaning.json and cleaning.csv, and says where."""
    from robustkit.base.write_file import write_atomically

    text = found.to_json()
    answer(lambda: json.loads(text))
    say_file(write_atomically(folder / "cleaning.json", text), "report")
    say_file(write_atomically(folder / "cleaning.csv", found.to_csv()), "table")


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
