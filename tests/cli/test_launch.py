"""Audits whose shards are done on a cluster: the same ledger, and a lost shard costs that shard alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess

import pytest
from nets import digits_cnn
from safetensors.torch import save_file

from robustkit.cli import run
from robustkit.cli.audit import clusters

WORDS = ["audit", "cnn", "--weights", "cnn.safetensors", "--data", "digits", "--eps", "0.1", "--limit", "24", "--quiet"]
WORDS += ["--batch-size", "2", "--attack", "pgd:steps=2", "--probes", "0"]
FREE = {"id", "created", "command", "environment", "seconds", "probe_seconds"}  # who ran it, when and how long
SHARDS = "out.shards"


@pytest.fixture
def folder(in_folder):
    save_file(digits_cnn().state_dict(), in_folder / "cnn.safetensors")
    return in_folder


class Cluster:
    """A cluster in this process, which loses some shards."""

    def __init__(self) -> None:
        self.lost: dict[int, str] = {}
        self.done: list[int] = []
        self.words: list[str] = []

    def __call__(self, jobs, settings, logs):
        self.words = [word for words in jobs.values() for word in words]
        for number, words in jobs.items():
            if number in self.lost:
                yield number, self.lost[number]
                continue
            self.done.append(number)
            yield number, None if run(words) == 0 else "it failed"


@pytest.fixture
def cluster(monkeypatch):
    here = Cluster()
    monkeypatch.setitem(clusters.CLUSTERS, "ray", here)
    return here


def launch(*more, on="ray:shards=3"):
    return run([*WORDS, "--out", "out", "--launch", on, *more])


def strip(tree):
    if isinstance(tree, dict):
        return {name: strip(value) for name, value in tree.items() if name not in FREE}
    return [strip(value) for value in tree] if isinstance(tree, list) else tree


def same(folder, first="out", second="one"):
    reports = [json.loads((folder / name / "report.json").read_text()) for name in (first, second)]
    assert strip(reports[0]) == strip(reports[1])
    for name in ("ledger.csv", "adversarials.safetensors"):
        assert (folder / first / name).read_bytes() == (folder / second / name).read_bytes()
    return True


def test_a_launched_audit_gives_the_report_of_one_process(folder, cluster):
    more = ["--require", "clean_accuracy>=0.1"]
    assert run([*WORDS, "--out", "one", *more]) in (0, 3)
    assert launch(*more) in (0, 3)
    assert same(folder)
    assert not (folder / SHARDS).exists()
    commands = [json.loads((folder / name / "report.json").read_text())["command"] for name in ("one", "out")]
    assert commands[1] == commands[0].replace("--out one", "--out out")


def test_a_lost_shard_is_told_in_one_line_and_the_same_command_does_it_alone(folder, cluster, capsys):
    assert run([*WORDS, "--out", "one"]) in (0, 3)
    cluster.lost = {2: "a fire"}
    capsys.readouterr()
    assert launch() == 3
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == (
        "robustkit: --launch: expected 3 finished shards, lost 1 of them (2), number 2 because: a fire; what is"
        f" finished is kept in '{SHARDS}', and the same command goes on with the rest"
    )
    assert not (folder / "out").exists()
    cluster.lost, cluster.done = {}, []
    assert launch() in (0, 3)
    assert cluster.done == [2]
    assert same(folder)


def test_what_is_asked_of_the_whole_is_left_to_the_merge(folder, cluster):
    cluster.lost = dict.fromkeys((1, 2, 3), "a fire")
    assert launch("--curve", "0.05", "--nearest", "--require", "clean_accuracy>=0.1") == 3
    assert cluster.words.count("--require") == 3
    assert not {"--launch", "--curve", "0.05", "--nearest", "--minimal"} & {*cluster.words}


def test_ctrl_c_keeps_what_is_finished(folder, monkeypatch, capsys):
    def interrupt(jobs, settings, logs):
        yield 1, None if run(jobs[1]) == 0 else "it failed"
        raise KeyboardInterrupt

    monkeypatch.setitem(clusters.CLUSTERS, "ray", interrupt)
    assert launch() == 130
    assert f"interrupted; what is finished is kept in '{SHARDS}'" in capsys.readouterr().err
    assert (folder / SHARDS / "1-of-3" / "shard.json").exists()


def test_finished_shards_of_another_command_are_refused_before_any_work(folder, cluster, capsys):
    cluster.lost = {3: "a fire"}
    assert launch() == 3
    cluster.done = []
    assert launch("--seed", "1") == 2
    assert f"expected shards of this command in '{SHARDS}', got those of 'robustkit audit" in capsys.readouterr().err
    assert cluster.done == []


def test_a_folder_that_the_machines_do_not_share_is_told(folder, monkeypatch, capsys):
    monkeypatch.setitem(clusters.CLUSTERS, "ray", lambda jobs, *_: (end for end in [(1, None), (2, None), (3, None)]))
    assert launch() == 3
    assert f"'{SHARDS}/1-of-3' is not on this machine; --out must be a folder that all share" in capsys.readouterr().err


def test_a_folder_from_elsewhere_launches_nothing(in_folder, capsys):
    note = {"shard": "1/1", "arguments": ["audit", "cnn", "--data", "digits", "--launch=ray:shards=2"]}
    (in_folder / "shard.json").write_text(json.dumps(note))
    assert run(["merge", "."]) == 2
    assert "merge: expected finished shards, got --launch in what they say" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--launch", "lsf:shards=2"], "--launch: expected a known cluster, got 'lsf'"),
        (["--launch", "ray"], "--launch ray: expected how many shards to make, got none"),
        (["--launch", "ray:shards"], "--launch ray: expected settings name=value, got 'shards'"),
        (["--launch", "ray:shards=2", "--shard", "1/2"], "--launch: expected an evaluation of a fixed number"),
        (["--launch", "ray:shards=2", "--until", "2%"], "--launch: expected an evaluation of a fixed number"),
    ],
)
def test_what_cannot_be_launched_is_refused(folder, capsys, words, message):
    assert run([*WORDS, *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("cluster", "name"), [("slurm", "submitit"), ("ray", "ray")])
def test_a_launcher_that_is_not_installed_is_named_with_its_extra(folder, monkeypatch, capsys, cluster, name):
    monkeypatch.setitem(__import__("sys").modules, name, None)
    assert launch(on=f"{cluster}:shards=2") == 2
    said = f"robustkit: --launch {cluster}: expected {name} to be installed; pip install 'robustkit[{cluster}]'\n"
    assert capsys.readouterr().err == said


def test_a_command_that_fails_says_its_last_line_and_one_that_is_killed_its_signal(in_folder, monkeypatch):
    assert clusters.do(["plan", "--half-width", "2%"], ".") is None
    assert clusters.do(["audlt"], ".").startswith("no command 'audlt'; did you mean 'audit'?")
    killed = subprocess.CompletedProcess([], -signal.SIGKILL, stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: killed)
    assert clusters.do(["audit"], ".") == "its process was ended by SIGKILL"


def needs(name):
    return pytest.importorskip(name, reason=f"{name} is not installed: pip install {name}")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the log files of the debug executor
@pytest.mark.parametrize("kind", ["debug", "local"])
def test_submitit_does_the_shards_on_this_machine(folder, kind):
    needs("submitit")
    assert run([*WORDS, "--out", "one"]) in (0, 3)
    assert launch(on=f"slurm:shards=2,cluster={kind}") in (0, 3)
    assert same(folder)


def test_what_submitit_does_not_know_is_told_in_one_line(folder, capsys):
    needs("submitit")
    for settings in ("cluster=moon", "cluster=debug,colour=red"):
        assert launch(on=f"slurm:shards=2,{settings}") == 2
        said = capsys.readouterr().err
        assert said.startswith("robustkit: --launch slurm: expected settings that it takes, got ")
        assert said.count("\n") == 1


@pytest.mark.slow
def test_a_job_of_submitit_that_is_killed_is_done_by_the_second_call(folder, capsys, monkeypatch):
    submitit = needs("submitit")
    assert run([*WORDS, "--out", "one"]) in (0, 3)
    result = submitit.LocalJob.result

    def killed(job):
        os.kill(job._process.pid, signal.SIGKILL)
        return result(job)

    with monkeypatch.context() as patch:
        patch.setattr(submitit.helpers, "as_completed", lambda jobs, **_: jobs)
        patch.setattr(submitit.LocalJob, "result", killed)
        patch.setattr(submitit.LocalJob, "_results_timeout_s", 0)
        assert launch(on="slurm:shards=2,cluster=local") == 3
    assert "expected 2 finished shards, lost 2 of them (1, 2), number 1 because: job " in capsys.readouterr().err
    assert launch(on="slurm:shards=2,cluster=local") in (0, 3)
    assert same(folder)


@pytest.mark.slow
def test_ray_does_the_shards_on_this_machine(folder):
    needs("ray")
    assert run([*WORDS, "--out", "one"]) in (0, 3)
    assert launch(on="ray:shards=2,num_cpus=0.5") in (0, 3)
    assert same(folder)
