"""Commands done elsewhere: as jobs of Slurm, by submitit, or as tasks of Ray."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.optional import package

Jobs = Mapping[int, Sequence[str]]  # command lines by number
Ends = Iterator[tuple[int, str | None]]  # number of a command that has ended, and what went wrong, if anything
MINUTES = 60  # a job of Slurm may take, before it waits in the queue again


def on_slurm(jobs: Jobs, settings: dict[str, Any], logs: Path) -> Ends:
    """Yields how the jobs of one array end, each as it does; those that have not end with the generator.

    Args:
        jobs: What to do.
        settings: Those of submitit's AutoExecutor; with `cluster="local"` the jobs are processes of this machine.
        logs: Where what the jobs say is written.

    Raises:
        ConfigurationError: If submitit is not installed, or there is no Slurm or no such setting.
    """
    submitit = package("submitit", "--launch slurm", "'robustkit[slurm]'")
    with _settings("slurm"):
        executor = submitit.AutoExecutor(logs, cluster=settings.pop("cluster", "slurm"))
        executor.update_parameters(**{"name": "robustkit", "timeout_min": MINUTES, **settings})
        with submitit.helpers.clean_env():  # this may run in a job itself
            submitted = executor.map_array(Resumable(), jobs.values(), [str(Path.cwd())] * len(jobs))
    numbers = {job.job_id: number for job, number in zip(submitted, jobs, strict=True)}
    try:
        for job in submitit.helpers.as_completed(submitted, poll_frequency=1):
            try:
                wrong = job.result()
            except submitit.core.utils.UncompletedJobError:
                wrong = f"job {job.job_id} ended without an answer, its state {job.state}; see '{logs}'"
            yield numbers[job.job_id], wrong
    finally:
        for job in submitted:
            if not job.done():
                job.cancel(check=False)


def on_ray(jobs: Jobs, settings: dict[str, Any], _: Path) -> Ends:
    """Yields how the tasks end, each as it does; those that have not end with the generator.

    The cluster is that of RAY_ADDRESS, else one that runs on this machine, else a new one of this machine alone.

    Args:
        jobs: What to do.
        settings: Of every task, as `ray.remote` has them.

    Raises:
        ConfigurationError: If Ray is not installed, or has no such setting.
    """
    ray = package("ray", "--launch ray", "'robustkit[ray]'")
    with _settings("ray"):
        task = ray.remote(do).options(**{"name": "robustkit", **settings})
    mine = not ray.is_initialized()
    if mine:
        ray.init(log_to_driver=False, logging_level=logging.WARNING)
    waiting = {task.remote(words, str(Path.cwd())): number for number, words in jobs.items()}
    try:
        while waiting:
            (end,), _rest = ray.wait([*waiting])
            try:
                wrong = ray.get(end)
            except ray.exceptions.RayError as error:
                wrong = one_line(error)
            yield waiting.pop(end), wrong
    finally:
        for end in waiting:
            ray.cancel(end)
        if mine:
            ray.shutdown()


CLUSTERS: Mapping[str, Callable[[Jobs, dict[str, Any], Path], Ends]] = {"slurm": on_slurm, "ray": on_ray}


def do(words: Sequence[str], folder: str) -> str | None:
    """Runs `robustkit WORDS` in a folder, as a process that takes nobody with it, and returns what went wrong."""
    command = [sys.executable, "-m", "robustkit", *words]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    sys.stderr.write(done.stderr)
    if not done.returncode:
        return None
    if done.returncode < 0:
        return f"its process was ended by {signal.Signals(-done.returncode).name}"
    return (done.stderr.splitlines() or [f"exit code {done.returncode}"])[-1].removeprefix("robustkit: ")


class Resumable:
    """`do` as a job that, if Slurm takes its place or its time is over, waits in the queue again and goes on."""

    def __call__(self, words: Sequence[str], folder: str) -> str | None:
        """Does it."""
        return do(words, folder)

    def checkpoint(self, *arguments: Any) -> Any:
        """Returns what is to be put in the queue: the same, because all that is finished is on the disk."""
        return package("submitit", "--launch slurm").helpers.DelayedSubmission(self, *arguments)


@contextmanager
def _settings(cluster: str) -> Iterator[None]:
    """Context in which a launcher looks at its settings."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"--launch {cluster}: expected settings that it takes, got {one_line(error)}; correct them"
        ) from error
