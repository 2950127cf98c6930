"""Members of an ensemble that a command trains itself: independent runs, or the cycles of one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from robustkit.base.errors import ConfigurationError
from robustkit.cli.shared.echo import say
from robustkit.cli.shared.training import Run, unresolved

if TYPE_CHECKING:
    from robustkit.cli.shared.model_and_data import ModelAndData
    from robustkit.defenses.training import TrainingProgress
    from robustkit.model.classifier import Classifier

Shown = Callable[[str], "Callable[[TrainingProgress], None] | None"]


@dataclasses.dataclass(frozen=True)
class Members:
    """Several members of one architecture to train.

    Attributes:
        count: How many.
        cycles: Whether they are the states of one run at the end of each cycle of its learning rate (snapshot ensemble,
            Huang et al. 2017, arXiv 1704.00109) rather than runs of their own.
        run: How to train each, or that run; its seed counts up from that of the recipe.
        out: File of the ensemble; theirs have a number behind its name, as have the folders of the runs.
    """

    count: int
    cycles: bool
    run: Run
    out: Path

    def trained(self, start: ModelAndData, shown: Shown) -> list[Path]:
        """Returns the files with the weights of the members, which begin where `start` would if it were built anew.

        Raises:
            ConfigurationError: If the epochs are not whole cycles.
        """
        files = [self._path(f"{number}.safetensors") for number in range(1, self.count + 1)]
        runs = [*self._runs(start)]
        for file in files if not self.run.resume else ():
            file.unlink(missing_ok=True)
        for file, (name, run, folder, classifier) in zip(files, runs, strict=True):
            if not (self.cycles and file.exists()):  # the run of all cycles may have gone past it
                self._train(run, dataclasses.replace(start, classifier=classifier), folder, file, name, shown)
        return files

    def _runs(self, start: ModelAndData) -> Iterator[tuple[str, Run, Path, Classifier]]:
        """Yields what trains each member: a name, the run, its folder, and the classifier it begins with."""
        from robustkit.defenses.ensemble import fresh_copies

        first, recipe, device = start.classifier, self.run.recipe, start.classifier.device
        modules = fresh_copies(first.module.cpu(), 1 if self.cycles else self.count, recipe.seed)
        begun = [first.replace(model=module.to(device)) for module in modules]
        if not self.cycles:
            for number, classifier in enumerate(begun, 1):
                run = dataclasses.replace(self.run, recipe=recipe.having({"seed": recipe.seed + number}))
                yield f"member {number} of {self.count}", run, self._path(f"{number}-run"), classifier
            return
        length, rest = divmod(recipe.epochs, self.count)
        if rest:
            raise ConfigurationError(
                f"--cycles: expected --epochs that are a multiple of --train {self.count}, got {recipe.epochs}; use"
                f" {self.count * (length + 1)}"
            )
        plan = {"schedule": "warm-restarts", "restart_epochs": length, "select": "last", "patience": None}
        for number in range(1, self.count + 1):
            cycle = recipe.having({**plan, "seed": recipe.seed + 1, "stop_after": number * length})
            run = dataclasses.replace(self.run, recipe=cycle, resume=self.run.resume or number > 1)
            yield f"cycle {number} of {self.count}", run, self._path("run"), begun[0]

    def _train(self, run: Run, start: ModelAndData, folder: Path, file: Path, name: str, shown: Shown) -> None:
        from safetensors.torch import save

        from robustkit.base.write_file import write_atomically
        from robustkit.cli.shared.report_files import claimed
        from robustkit.cli.shared.resume import keeping
        from robustkit.defenses.training.run_folder import CHECKPOINT

        with claimed(folder), keeping(folder, CHECKPOINT):
            training = run.train(start, folder, shown(name))
        for finding in unresolved(training):
            say(f"robustkit: {name}: {finding}", err=True)
        weights = {key: value.cpu().contiguous() for key, value in start.classifier.module.state_dict().items()}
        write_atomically(file, save(weights))

    def _path(self, ending: str) -> Path:
        return self.out.with_name(f"{self.out.stem}-{ending}")
