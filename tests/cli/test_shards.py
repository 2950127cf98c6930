"""Audits by several processes, by shards, and after an interrupt: the same report and ledger as by one."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from nets import digits_cnn
from pair import started, torchrun
from safetensors.torch import save_file

from robustkit.base.errors import ConfigurationError
from robustkit.cli import run
from robustkit.cli.merge import refuse_calls
from robustkit.cli.shared.command_line import without

COMMON = ["--weights", "cnn.safetensors", "--data", "digits", "--eps", "0.1", "--limit", "70", "--batch-size", "4"]
ATTACKS = ["--attack", "pgd:steps=3", "--attack", "fgsm", "--probes", "0"]
# All that may differ: who ran it, when, where and how long it took.
FREE = {"id", "created", "command", "environment", "seconds", "probe_seconds"}


@pytest.fixture
def folder(in_folder):
    save_file(digits_cnn().state_dict(), in_folder / "cnn.safetensors")
    return in_folder


def audit(*more):
    return run(["audit", "cnn", *COMMON, *ATTACKS, "--quiet", *more])


def strip(tree):
    if isinstance(tree, dict):
        return {name: strip(value) for name, value in tree.items() if name not in FREE}
    return [strip(value) for value in tree] if isinstance(tree, list) else tree


def same(folder, first, second):
    reports = [json.loads((folder / name / "report.json").read_text()) for name in (first, second)]
    assert strip(reports[0]) == strip(reports[1])
    assert reports[0]["result_sha256"] == reports[1]["result_sha256"]
    assert (folder / first / "ledger.csv").read_bytes() == (folder / second / "ledger.csv").read_bytes()
    return True


@pytest.mark.slow
def test_torchrun_gives_the_report_of_one_process(folder):
    curve = ["--curve", "0.05,0.1", "--minimal", "--probes", "8"]
    assert audit("--out", "one", *curve) in (0, 3)
    done = torchrun("-m", "robustkit", "audit", "cnn", *COMMON, *ATTACKS, "--quiet", *curve, "--out", "two", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report two/report.html") == 1
    assert same(folder, "one", "two")
    assert not (folder / "two.parts").exists()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers of torchrun as Linux lists them")
def test_a_killed_worker_of_torchrun_loses_only_what_it_had_not_finished(folder):
    words = ["audit", "cnn", *COMMON, "--attack", "pgd:steps=150,random_start=false", "--probes", "0", "--quiet"]
    assert run([*words, "--out", "one"]) in (0, 3)
    (folder / "at_once.py").write_text(
        "from robustkit.evaluation import part_files\npart_files.EVERY = 0\nfrom robustkit.cli import main\nmain()\n"
    )
    with started("at_once.py", *words, "--out", "two", cwd=folder) as launcher:
        while not (parts := [*folder.glob("two.parts/part-*.safetensors")]):
            assert launcher.poll() is None
            time.sleep(0.01)
        workers = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
        os.kill(int(workers[1]), signal.SIGKILL)
        assert launcher.wait(120) != 0
    assert {*parts} <= {*folder.glob("two.parts/part-*.safetensors")}
    assert not (folder / "two").exists()
    done = torchrun("-m", "robustkit", *words, "--out", "two", "--resume", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert same(folder, "one", "two")
    assert not (folder / "two.parts").exists()


def test_shards_made_one_by_one_merge_to_the_report_of_one_process(folder, capsys):
    assert audit("--out", "one") in (0, 3)
    for number in "312":
        assert audit("--shard", f"{number}/3") == 0
    assert "shard 2/3 robustkit-shard-2-of-3, 22 of 70 samples" in capsys.readouterr().out
    shards = [f"robustkit-shard-{number}-of-3" for number in (2, 3, 1)]
    assert run(["merge", *shards, "--out", "merged"]) in (0, 3)
    assert same(folder, "one", "merged")
    command = json.loads((folder / "merged" / "report.json").read_text())["command"]
    assert command == shlex.join(["robustkit", "audit", "cnn", *COMMON, *ATTACKS, "--quiet", "--out", "merged"])
    assert run(["merge", *shards, "--out", "more", "--option", "curve=0.05,0.1", "--resume"]) in (0, 3)
    assert len(json.loads((folder / "more" / "report.json").read_text())["audits"][0]["curve"]["points"]) == 2


def test_an_interrupted_audit_says_how_to_go_on_and_then_ends_as_if_nothing_had_happened(folder, monkeypatch, capsys):
    from robustkit import evaluator

    assert audit("--out", "one") in (0, 3)
    add, parts = evaluator.Parts.add, []

    def interrupt(self, part):
        add(self, part)
        parts.append(part)
        if len(parts) == 2:
            raise KeyboardInterrupt
        return part

    monkeypatch.setattr(evaluator.Parts, "add", interrupt)
    capsys.readouterr()
    assert audit("--out", "broken", "--json") == 130
    err = capsys.readouterr().err
    assert err.startswith("robustkit: interrupted; what is finished is kept in 'broken.parts'; resume with: robustkit")
    assert not (folder / "broken").exists()
    again = shlex.split(err.partition("resume with: robustkit ")[2])
    assert again[-2:] == ["--json", "--resume"]
    assert run([*again[:-1], "--seed", "1", "--resume"]) == 2
    assert "expected seed '0' as in 'broken.parts/part-000000000.safetensors', got '1'" in capsys.readouterr().err
    assert run(again) in (0, 3)
    assert same(folder, "one", "broken")
    assert not (folder / "broken.parts").exists()
    assert audit("--out", "new", "--resume") in (0, 3)  # with nothing there it starts
    assert same(folder, "one", "new")


@pytest.mark.slow
def test_an_audit_interrupted_behind_its_attacks_resumes_there(folder, monkeypatch, capsys):
    from robustkit.evaluation.part_files import PartFiles

    extras = ["--until", "40%", "--curve", "0.05,0.1", "--minimal", "--resume"]
    assert audit("--out", "one", *extras) in (0, 3)
    write, written = PartFiles.write, []

    def interrupted_by_the_distances(self, number, tensors, facts):
        written.append(self.kind)
        if self.kind == "distances-" and written.count(self.kind) == 1:
            raise KeyboardInterrupt
        write(self, number, tensors, facts)

    monkeypatch.setattr(PartFiles, "write", interrupted_by_the_distances)
    assert audit("--out", "broken", *extras) == 130
    assert "what is finished is kept in 'broken.parts'" in capsys.readouterr().err
    assert set(written) == {"", "curve-", "distances-"}
    done = len(written)
    assert audit("--out", "broken", *extras) in (0, 3)
    assert set(written[done:]) <= {"distances-"}
    assert same(folder, "one", "broken")
    assert not (folder / "broken.parts").exists()


def test_a_second_audit_with_the_same_out_is_refused_before_it_touches_anything(folder, capsys):
    (folder / "busy.parts").mkdir()
    part = folder / "busy.parts" / "part-000000000.safetensors"
    part.write_bytes(b"of the first")
    hold = "import sys, time; from robustkit.base.lock import claimed\nwith claimed('busy'): print(1); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-uc", hold], stdout=subprocess.PIPE) as first:
        assert first.stdout.readline()
        assert audit("--out", "busy", "--weights", "none.safetensors") == 2
        first.kill()
    err = capsys.readouterr().err
    assert f"nobody else writes to, got 'busy', in use by process {first.pid} on " in err
    assert err.count("\n") == 1
    assert part.read_bytes() == b"of the first"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--shard", "0/2"], "--shard: expected 1/N to N/N, got '0/2'"),
        (["--shard", "half"], "got 'half'"),
        (["--shard", "1/2", "--until", "2%"], "cannot be shared"),
        (["--shard", "1/2", "--minimal"], "robustkit merge --option"),
    ],
)
def test_what_cannot_be_shared_is_refused(folder, capsys, words, message):
    assert audit(*words) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_shards_merge_whether_an_option_was_typed_by_its_old_name_or_its_new_one(folder, capsys):
    for shard, name in (("1/2", "--draws"), ("2/2", "--eot-samples")):
        assert audit("--shard", shard, name, "1", "--limit", "16") == 0
    shards = ["robustkit-shard-1-of-2", "robustkit-shard-2-of-2"]
    assert "--draws" in json.loads((folder / shards[0] / "shard.json").read_text())["arguments"]
    assert run(["merge", *shards, "--option", "nearest"]) in (0, 3)
    assert "half of the samples were broken within Linf" in capsys.readouterr().out


def test_merging_the_wrong_folders_is_refused(folder, capsys):
    assert audit("--shard", "1/2") == audit("--shard", "2/2", "--seed", "1", "--out", "other") == 0
    first = "robustkit-shard-1-of-2"
    for folders, message in (
        ([first], "expected every shard from 1/2 to 2/2 once, got 1/2"),
        ([first, "other"], "expected shards of one command"),
        ([first, "."], "expected the folder of a finished shard, got '.'"),
    ):
        assert run(["merge", *folders]) == 2
        assert message in capsys.readouterr().err


def test_merge_refuses_a_shard_of_which_a_byte_was_flipped(folder, capsys):
    assert audit("--shard", "1/1", "--limit", "16") == 0
    shard = folder / "robustkit-shard-1-of-1"
    for path, old, new in (
        (shard / "part-000000000.safetensors", b"ledger", b"lefger"),
        (shard / "shard.json", b"16", b"17"),
    ):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(old, new, 1))
        assert run(["merge", str(shard)]) == 2
        assert path.name in capsys.readouterr().err
        path.write_bytes(whole)
    assert run(["merge", str(shard)]) in (0, 3)


def test_a_shard_that_names_code_to_run_has_to_be_trusted(folder, capsys):
    (folder / "nets_of_a_shard.py").write_text(
        "from nets import digits_cnn as net, digits\ndef samples():\n    return digits(40)\n"
    )
    words = ["audit", "nets_of_a_shard:net", "--data", "nets_of_a_shard:samples", "--eps", "0.1", *ATTACKS, "--quiet"]
    assert run([*words, "--shard", "1/1"]) == 0
    assert run(["merge", "robustkit-shard-1-of-1"]) == 2
    assert "expected shards that run no foreign code, got 'nets_of_a_shard:net'" in capsys.readouterr().err
    assert run(["merge", "robustkit-shard-1-of-1", "--trust-checkpoint"]) in (0, 3)


def test_the_command_line_of_a_shard_loses_what_is_its_own():
    words = ["audit", "cnn", "--shard", "1/2", "--data=digits", "--out=x", "--outline", "--shard=1/2", "--limit", "3"]
    assert without(words, ("--shard", "--out")) == ["audit", "cnn", "--data=digits", "--outline", "--limit", "3"]


def test_a_small_model_with_settings_is_no_foreign_code():
    refuse_calls(["audit", "strided:width=8", "--data", "digits"])
    for words in (["mine:net", "--data", "digits"], ["strided:width=8", "--data", "mine:data"]):
        with pytest.raises(ConfigurationError, match="shards that run no foreign code, got 'mine:"):
            refuse_calls(["audit", *words])


@pytest.mark.parametrize("words", [["strided:width=8", "--data", "mine:f"], ["mine:f", "--data", "digits"]])
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir])
def test_what_is_called_like_a_function_makes_it_no_less_foreign(in_folder, words, make):
    if words[0] == "mine:f" and make is Path.touch:
        pytest.skip("`load_model` reads a file, and would call the function beside a folder")
    make(Path("mine:f"))
    with pytest.raises(ConfigurationError, match="got 'mine:f'"):
        refuse_calls(["audit", *words])


def test_torchrun_is_refused_by_commands_that_cannot_share(monkeypatch, capsys):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setattr("robustkit.base.processes.joined", lambda: __import__("contextlib").nullcontext())
    assert run(["doctor", "cnn", "--data", "digits"]) == 2
    assert "torchrun: expected audit or train, got 'doctor'" in capsys.readouterr().err


def test_every_process_takes_the_gpu_of_its_own_number(monkeypatch, capsys):
    from robustkit.base.errors import ConfigurationError
    from robustkit.cli.shared.device import find_device

    taken = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", taken.append)
    monkeypatch.setattr(torch, "empty", lambda *_, device: None)
    assert find_device("auto") == torch.device("cuda")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    for number in range(2):
        monkeypatch.setenv("LOCAL_RANK", str(number))
        assert find_device("auto") == find_device("cuda") == torch.device("cuda", number)
    assert taken == [0, 0, 1, 1]
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigurationError, match="expected a GPU for every process, got 2 for 3"):
        find_device("auto")


@pytest.mark.slow
def test_an_error_in_one_process_ends_all_with_one_line(folder):
    (folder / "data.py").write_text(
        "import os\nfrom nets import digits\n"
        "def samples():\n"
        "    x, y = digits(70)\n"
        "    y = y.clone()\n"
        "    if os.environ['RANK'] == '1':\n"
        "        y[20] = 77\n"
        "    return x, y\n"
    )
    words = ["audit", "cnn", *COMMON[:2], "--data", "data:samples", *COMMON[4:], *ATTACKS, "--classes", "10"]
    done = torchrun("-m", "robustkit", *words, cwd=folder)
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("robustkit: ")]
    assert lines == [
        "robustkit: labels: expected 0..9 for 10 classes, got 0..77 (first at position 4); match data and model"
    ]
