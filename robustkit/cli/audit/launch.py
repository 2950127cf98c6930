"""An audit on a cluster: its shards are done there, those that are not finished yet, and then put together here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from robustkit.base.errors import ConfigurationError
from robustkit.base.settings import Scalar, choice, integer, read, split
from robustkit.cli.audit.clusters import CLUSTERS
from robustkit.cli.shared.command_line import typed, without
from robustkit.cli.shared.old_spellings import current
from robustkit.cli.shared.option_types import Typed

SHOWN = 8  # numbers of lost shards
_OF_THE_WHOLE = ("--launch", "--out", "--sign", "--timestamp", "--curve")
_FLAGS = ("--minimal", "--quiet")


@dataclass(frozen=True)
class Launch:
    """Where the shards of an audit are done.

    Attributes:
        cluster: "slurm" or "ray".
        shards: How many there are.
        settings: Of every job, by the names that submitit or Ray have for them.
    """

    cluster: str
    shards: int
    settings: Mapping[str, Scalar]

    @classmethod
    def parse(cls, text: str) -> Launch:
        """Returns what a text such as "slurm:shards=100,gpus_per_node=1" says.

        Raises:
            ConfigurationError: If the cluster is unknown, or the number of shards is missing.
        """
        name, items = split(text, CLUSTERS)
        who = f"--launch {choice('--launch', 'cluster', name, CLUSTERS)}"
        settings = read(who, items, None)
        if "shards" not in settings:
            raise ConfigurationError(f"{who}: expected how many shards to make, got none; type {name}:shards=8")
        return cls(name, integer(who, "shards", settings.pop("shards"), 1, 10**6), settings)

    def folders(self, out: Path) -> dict[int, Path]:
        """Returns the folders of the shards of an audit that goes to `out`, by their numbers from 1."""
        parent = out.with_name(f"{out.name}.shards")
        return {number: parent / f"{number}-of-{self.shards}" for number in range(1, self.shards + 1)}


LAUNCH = Typed("CLUSTER:shards=N[,...]", "slurm or ray, and the number of shards", Launch.parse)


@contextmanager
def launched(launch: Launch | None, out: Path, quiet: bool) -> Iterator[None]:
    """Context in which all shards of an audit are finished, if it is launched; they are removed when it ends well.

    Args:
        launch: Where they are done; None if the audit is not launched.
        out: Where its report goes.
        quiet: Whether to show no progress.

    Raises:
        ConfigurationError: If the launcher is not installed, or shards of another command are there.
        Deserted: If shards were lost.
        Interrupted: If somebody pressed Ctrl-C.
    """
    if launch is None:
        yield
        return
    folders = launch.folders(out)
    _finish(launch, folders, quiet)
    yield
    shutil.rmtree(folders[1].parent)


def _finish(launch: Launch, folders: Mapping[int, Path], quiet: bool) -> None:
    """Does the shards that are not finished."""
    from robustkit.base.processes import Deserted
    from robustkit.cli.shared.progress import progress
    from robustkit.cli.shared.resume import Interrupted
    from robustkit.cli.shared.shards import is_finished

    words = [word for word in without(current(typed()), _OF_THE_WHOLE) if word not in _FLAGS] + ["--quiet"]
    jobs = {
        number: [*words, "--shard", f"{number}/{launch.shards}", "--out", str(folder), "--resume"]
        for number, folder in folders.items()
        if not is_finished(folder, words)
    }
    if not jobs:
        return
    parent, lost = folders[1].parent, dict[int, str]()
    again = f"what is finished is kept in '{parent}', and the same command goes on with the rest"
    ends = CLUSTERS[launch.cluster](jobs, dict(launch.settings), parent / "jobs")
    try:
        with progress(quiet) as bar, closing(ends):  # type: ignore[type-var]
            for done, (number, wrong) in enumerate(ends, len(folders) - len(jobs) + 1):
                bar.count(f"shards on {launch.cluster}", done, len(folders))
                if wrong is None and not is_finished(folders[number], words):
                    wrong = f"'{folders[number]}' is not on this machine; --out must be a folder that all share"
                if wrong is not None:
                    lost[number] = wrong
    except KeyboardInterrupt:
        raise Interrupted(f"interrupted; {again}") from None
    if lost:
        some = ", ".join(map(str, sorted(lost)[:SHOWN])) + (", ..." if len(lost) > SHOWN else "")
        raise Deserted(
            f"--launch: expected {len(folders)} finished shards, lost {len(lost)} of them ({some}), number {min(lost)}"
            f" because: {lost[min(lost)]}; {again}"
        )
