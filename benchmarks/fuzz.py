"""Feeds broken files and odd options to every reader and command: each must be taken, or refused in one line.

Valid small files are made; each trial changes one of them, or one option: bytes, cells, values, sizes, types.
All trials run in this process, so that one traceback, one hang or one write to a strange place shows.

    nice python benchmarks/fuzz.py --trials 5000 --seed 1
    python benchmarks/fuzz.py --only 1/387             # one trial again

Prints a table; exits with 1 where something was neither taken nor refused in one line.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from robustkit.base.errors import RobustkitError
from robustkit.base.foreign_file import content, parsing
from robustkit.bundle.keys import read_private_key, read_public_key
from robustkit.bundle.open_bundle import check_files, opened
from robustkit.cli import run
from robustkit.cli.shared.radius_file import read_radius
from robustkit.data import batches
from robustkit.defenses.training import checkpoint
from robustkit.defenses.training.recipe import Recipe
from robustkit.evaluation.evidence import StoredEvidence
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.slices import read_groups
from robustkit.loading import load_data, load_model
from robustkit.loading.class_map import read_class_map
from robustkit.model.checkpoint import read_checkpoint
from robustkit.model.small_models import create, initial_weights
from robustkit.report import load, read_about
from robustkit.report.document.manifest import NAME, from_text

LONGEST = 10.0  # seconds
ATTACK = "--attack fgsm --probes 0 --limit 4 --eps 0.1 --quiet"
RECORDS = "--output logits --attack noise --probes 0 --limit 4 --quiet"
SCHEMA = """
label = "label"
[default]
eps = 0.5
unit = "std"
[features.age]
may = "rise"
high = 60
[features.housing]
values = ["own", "rent", "free"]
eps = 1
[features.foreign]
immutable = true
"""
ODD = (
    *("", " ", "0", "-1", "1e400", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "1/0", "8/255", "true", "none", "null"),
    *("\u0661", "\u00b2", "\x1b[2J", "\u202e", "../../etc/passwd", "/dev/zero", "a:b", "a" * 300, "[" * 3000, "{}"),
    *('"', "'", ",", ";", "\r", "\n", "x,y", "0x10", "1_0", str(2**62), str(-(2**63)), "1979-05-27", "=="),
)
VALUES = (None, True, 0, -1, 1.5, 2**62, 10**30, 1e308, "", "x", [], {}, [[1]], {"a": 1}, "\x1b[2J", "9" * 5000)
SPELLED = ("pgd:steps=3,loss=ce", "trades:beta=2", "resize=8,crop=4", "robust_accuracy>=0.5", "1,2", '{"a": 1}')
OPTIONS = {
    "audit": "attack eps norm require class-map transform curve until time-limit output output-key class-names select"
    " bounds mean std groups about shard seed limit first batch-size classes image-size split device weights-key"
    " threat mask schema tuning-data"
    " expected-clean-accuracy label-column data-root protocol surrogate eot-samples name",
    "train": "objective eps norm lr augment optimizer momentum weight-decay schedule milestones clip minutes"
    " held-out seed average patience batch-size limit precision trackers",
    "gate": "require audit",
}


@dataclass
class Outcome:
    """What came of the trials of one kind."""

    taken: int = 0
    refused: int = 0
    slow: int = 0
    outside: int = 0
    faults: list[str] = field(default_factory=list)


class TooLong(BaseException):
    """More than `LONGEST` seconds."""


def make_files(folder: Path) -> None:
    """Writes a valid small file of every kind, and a bundle."""
    os.chdir(folder)
    x = np.random.default_rng(0).random((8, 1, 4, 4), dtype=np.float32)
    np.savez("data.npz", x=x, y=np.arange(8) % 2)
    with initial_weights(seed=0):
        net = create("mlp", (1, 4, 4), 2)
    save_file(net.state_dict(), "weights.safetensors")
    torch.save(net.state_dict(), "weights.pt")
    np.savez("weights.npz", **{name: value.numpy() for name, value in net.state_dict().items()})
    for name in ("a", "b"):
        Path("pictures", name).mkdir(parents=True)
        Image.fromarray((x[0, 0] * 255).astype(np.uint8)).save(Path("pictures", name, "1.png"))
    groups = "".join(f"{i},{i // 2},{'day' if i % 3 else 'night'}\n" for i in range(8))
    records = "".join(f"{20 + i},{'own' if i % 3 else 'rent'},{i % 2},{i % 2}\n" for i in range(8))
    part = {"model": "mlp", "weights": "weights.safetensors", "input_shape": [1, 4, 4], "num_classes": 2}
    texts = {
        "table.csv": "id,label,a,b\n" + "".join(f"{i},{i % 2},0.{i},0.5\n" for i in range(8)),
        "listing.csv": "path,label\npictures/a/1.png,0\npictures/b/1.png,1\n",
        "groups.csv": f"id,cluster,light\n{groups}",
        "map.csv": "0,1\n1,0\n",
        "map.json": '{"0": 1, "1": 0}',
        "records.csv": "age,housing,foreign,label\n" + records,
        "schema.toml": SCHEMA,
        "about.toml": 'purpose = "a test"\nparty = "1st"\n[signoff]\nname = "N. N."\n',
        "recipe.toml": 'epochs = 1\nlr = 0.01\noptimizer = "sgd"\nmilestones = [0.5]\nminutes = "none"\n',
        "train.toml": 'epochs = 1\neps = 0.1\nlimit = 4\nobjective = "standard"\nquiet = true\n',
        "model.json": json.dumps({"kind": "temperature", "settings": {"temperature": 1.5}, "parts": [part]}),
    }
    np.save("eps.npy", np.full((1, 4, 4), 0.1))
    np.save("mask.npy", np.ones((1, 4, 4), dtype=bool))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", "key.pem"], check=True)
    subprocess.run(["openssl", "pkey", "-in", "key.pem", "-pubout", "-out", "pub.pem"], check=True)
    for name, text in texts.items():
        Path(name).write_text(text)
    audit = f"audit mlp --weights weights.safetensors --data data.npz {ATTACK}".split()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        codes = [
            run([*audit, "--out", "bundle", "--sign", "key.pem"]),
            run([*audit, "--shard", "1/1", "--out", "shard"]),
        ]
    if not {*codes} <= {0, 3}:
        raise RuntimeError(f"expected an audit that works, got {codes}")
    shutil.make_archive("bundle", "zip", "bundle")
    (piece,) = Path("shard").glob("part-*")
    shutil.copy(piece, "part.safetensors")
    shutil.copy("bundle/adversarials.safetensors", "points.safetensors")
    for name in ("report.json", NAME, "ledger.csv"):
        shutil.copy(Path("bundle", name), name)


def _first(dataset: Any) -> object:
    return next(batches(dataset, 4, 4))


def _text(path: Path) -> str:
    with parsing(path.name, "text"):
        return content(path).decode(errors="replace")


def _opened(path: Path) -> None:
    with opened(path) as folder:
        check_files(folder)


READERS: dict[str, Callable[[Path], object]] = {
    "data.npz": lambda path: _first(load_data(path)),
    "table.csv": lambda path: _first(load_data(path)),
    "listing.csv": lambda path: _first(load_data(path, image_size=4)),
    "pictures/a/1.png": lambda path: _first(load_data(path.parents[1], image_size=4)),
    "records.csv": lambda path: _first(load_data(path, schema=path.with_name("schema.toml"))),
    "schema.toml": lambda path: _first(load_data(path.with_name("records.csv"), schema=path)),
    "eps.npy": lambda path: read_radius(str(path), None),
    "mask.npy": lambda path: read_radius("0.1", path),
    "pub.pem": read_public_key,
    "key.pem": read_private_key,
    "weights.safetensors": lambda path: load_model("mlp", path, (1, 4, 4), 2),
    "weights.pt": lambda path: read_checkpoint(path, False),
    "weights.npz": lambda path: read_checkpoint(path, False),
    "model.json": load_model,
    "groups.csv": read_groups,
    "map.csv": lambda path: read_class_map(str(path)),
    "map.json": lambda path: read_class_map(str(path)),
    "about.toml": read_about,
    "recipe.toml": Recipe.read,
    "part.safetensors": checkpoint.read,
    "report.json": load,
    NAME: lambda path: from_text(_text(path)),
    "ledger.csv": lambda path: Ledger.from_csv(_text(path)),
    "points.safetensors": lambda path: StoredEvidence(path, ["fgsm"]),
    "bundle.zip": _opened,
}
COMMANDS = {  # {} is the changed file
    "data.npz": [f"audit mlp --data {{}} {ATTACK} --out out", "doctor mlp --data {}", "clean-data --data {}"],
    "table.csv": [f"audit mlp --data {{}} {ATTACK} --out out"],
    "records.csv": [f"audit mlp --data {{}} --schema schema.toml {RECORDS} --out out"],
    "schema.toml": [f"audit mlp --data records.csv --schema {{}} {RECORDS} --out out"],
    "eps.npy": [f"audit mlp --data data.npz {ATTACK} --eps {{}} --out out"],
    "mask.npy": [f"audit mlp --data data.npz {ATTACK} --mask {{}} --out out"],
    "pictures/a/1.png": [f"audit mlp --data pictures --image-size 4 {ATTACK} --out out"],
    "weights.pt": [f"audit mlp --weights {{}} --data data.npz {ATTACK} --out out"],
    "model.json": [f"audit {{}} --data data.npz {ATTACK} --out out"],
    "groups.csv": [f"audit mlp --data data.npz --groups {{}} {ATTACK} --out out"],
    "map.csv": [f"audit mlp --data data.npz --class-map {{}} {ATTACK} --out out"],
    "about.toml": [f"audit mlp --data data.npz --about {{}} {ATTACK} --out out"],
    "train.toml": ["train mlp --data data.npz --config {} --minutes 0.02 --out out"],
    "report.json": ["gate {} --require robust_accuracy>=0", "report {} --html out/a.html"],
    "shard/shard.json": ["merge shard --out out"],
    "part.safetensors": ["merge shard --out out"],
    "bundle/report.json": ["verify bundle", "verify bundle --model mlp --data data.npz"],
    f"bundle/{NAME}": ["verify bundle"],
    "bundle/ledger.csv": ["verify bundle", "compare bundle bundle --out out"],
    "bundle/adversarials.safetensors": ["verify bundle --data data.npz"],
    "bundle/signature.json": ["verify bundle --key pub.pem"],
    "pub.pem": ["verify bundle --key {}"],
    "bundle.zip": ["verify {}"],
}


def changed(content: bytes, name: str, chance: random.Random) -> bytes:
    """Returns the content with something wrong in it, by what kind of file it is."""
    kind = Path(name).suffix
    if kind in (".npz", ".zip", ".pt") and chance.random() < 0.6:
        return _repacked(content, chance)
    if kind == ".json" and chance.random() < 0.6:
        tree = json.loads(content)
        _replace(tree, chance)
        return _manifest(tree) if name.endswith(NAME) else json.dumps(tree).encode()
    if kind in (".csv", ".toml", ".json") and chance.random() < 0.8:
        parts = _pieces(content.decode())
        parts[chance.randrange(len(parts))] = chance.choice(ODD)
        return "".join(parts).encode()
    return _bytes(content, chance)


def _manifest(tree: dict[str, Any]) -> bytes:
    """Returns the manifest with a hash of itself that fits."""
    tree = {name: value for name, value in tree.items() if name != "sha256"}
    own = hashlib.sha256(json.dumps(tree, sort_keys=True).encode()).hexdigest()
    return (json.dumps({**tree, "sha256": own}, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def _pieces(text: str) -> list[str]:
    return re.split(r"([,;\n\"=\[\]{}: ])", text)


def _bytes(content: bytes, chance: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(data) or 1)
        match chance.randrange(6):
            case 0:
                data[place : place + 1] = bytes([chance.randrange(256)])
            case 1:
                del data[place:]
            case 2:
                data[place : place + 8] = chance.choice((b"\xff" * 8, b"\0" * 8, b"\x7f" + b"\xff" * 7))
            case 3:
                data[place:place] = data[: chance.randrange(64)]
            case 4:
                del data[place : place + chance.randrange(64)]
            case _:  # near the beginning, where headers are
                data[:64] = bytes(b ^ (chance.random() < 0.05) * chance.randrange(256) for b in data[:64])
    return bytes(data)


def _repacked(content: bytes, chance: random.Random) -> bytes:
    """Returns an archive with one entry changed, checksums that fit, and sometimes an array of another kind."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        entries = {entry: old.read(entry) for entry in old.namelist() if not entry.endswith("/")}
    name = chance.choice([*entries])
    entries[name] = _array(chance) if name.endswith(".npy") and chance.random() < 0.7 else _bytes(entries[name], chance)
    if chance.random() < 0.1:
        entries[chance.choice(("../x", "/tmp/x", "a/b", "x"))] = b"new"
    file = io.BytesIO()
    packed = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(file, "w", packed) as new:
        for entry, data in entries.items():
            new.writestr(entry, data)
    return file.getvalue()


def _array(chance: random.Random) -> bytes:
    """Returns an odd array, or a header that claims more than there is."""
    file = io.BytesIO()
    if chance.random() < 0.3:
        shape = chance.choice(((10**12,), (-1, 4), (8, 10**9, 10**9), (2**63, 2), (8, 0)))
        descr = chance.choice(("|u1", "<f4", "<f8", "|O", "<U1000000"))
        np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
        return file.getvalue() + b"\0" * 64
    count = chance.choice((8, 8, 8, 7, 1, 0))
    values = np.array([chance.choice((0, 1, 2, 255, 2**62)) for _ in range(count)], dtype=np.int64)
    kind = chance.choice(("f4", "f8", "f2", ">f4", "i8", "u8", "u1", "?", "c8", "M8[s]", "U3", "S3", "i4"))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        array = (values % 1000 if kind == "M8[s]" else values).astype(kind)
    if array.dtype.kind == "f" and count:
        array[0] = chance.choice((np.nan, np.inf, -1.0, 100.0))
    wide = np.broadcast_to(array[:, None, None, None], (count, 1, 4, 4))
    np.save(file, array if chance.random() < 0.5 else wide)
    return file.getvalue()


def _replace(tree: Any, chance: random.Random) -> None:
    """Replaces, or removes, one value somewhere in a tree of JSON."""
    holder, key = chance.choice([(one, key) for one in _holders(tree) for key in _keys(one)])
    if isinstance(holder, dict) and chance.random() < 0.15:
        del holder[key]
    elif isinstance(holder[key], float | int) and chance.random() < 0.5:
        holder[key] = chance.choice((0, -1, 1e308, float("nan"), float("inf"), 10**30, holder[key] * 2, -holder[key]))
    else:
        holder[key] = chance.choice((*VALUES, chance.choice(ODD)))


def _holders(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict | list):
        if tree:
            yield tree
        for item in tree.values() if isinstance(tree, dict) else tree:
            yield from _holders(item)


def _keys(holder: Any) -> Sequence[Any]:
    return [*holder] if isinstance(holder, dict) else range(len(holder))


class Watch:
    """Notes where this process writes, as Python tells it; what begins with one of the `allowed` does not count."""

    def __init__(self, *allowed: Path) -> None:
        self.allowed, self.on, self.outside = tuple(map(str, allowed)), False, list[str]()
        sys.addaudithook(self._hook)

    def _hook(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink"):
            return
        if event == "open" and not (isinstance(given[2], int) and given[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        path = given[1] if event == "os.rename" else given[0]
        within = event != "open" and given[-1] != -1  # a folder that was opened before
        if isinstance(path, str | bytes | os.PathLike) and not within:
            where = Path(os.fsdecode(path)).resolve()
            known = str(where).startswith((*self.allowed, os.devnull)) or "__pycache__" in where.parts
            if not known and not where.is_dir():
                self.outside.append(str(where))


class Fuzz:
    """Trials in one folder, in which the files are made; what may be written lies in `out`, or on the way to it.

    Args:
        folder: The folder.
        shares: How often a reader, a command with a file, and an option are tried.
    """

    def __init__(self, folder: Path, shares: tuple[int, int, int] = (5, 2, 2)) -> None:
        self.folder, self.shares = folder, shares
        make_files(folder)
        self.whole = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        tempfile.tempdir = str(folder / "temporary")
        Path(tempfile.tempdir).mkdir()
        own = [folder / name for name in ("out", ".out", "robustkit-cleaning", ".robustkit-cleaning", "temporary")]
        self.watch = Watch(*own)
        self.found: dict[str, Outcome] = {}

    def try_whole(self) -> None:
        """Feeds every file as it was made: what is refused even so would test nothing."""
        for name, reads in READERS.items():
            reads(self.folder / name)
        for line in [line.format(name) for name, lines in COMMANDS.items() for line in lines]:
            if said := _run(line.split()):
                raise RuntimeError(f"{line}: {said}")
            shutil.rmtree(self.folder / "out", ignore_errors=True)

    def trial(self, number: str) -> None:
        """Does one trial, decided by its number alone, and counts what came of it."""
        chance = random.Random(number)
        match chance.choices(("reader", "command", "option"), self.shares)[0]:
            case "reader":
                name = chance.choice([*READERS])
                kind, does = f"read {name}", self._reading(name, chance)
            case "command":
                name = chance.choice([*COMMANDS])
                kind, does = f"run with {name}", self._running(name, chance)
            case _:
                command = chance.choice([*OPTIONS])
                kind, does = f"options of {command}", _asking(command, chance)
        self._judge(self.found.setdefault(kind, Outcome()), number, does)
        self._restore()

    def _reading(self, name: str, chance: random.Random) -> Callable[[], str | None]:
        path = self.folder / name
        self._change(path, name, chance)

        def reads() -> str | None:
            try:
                READERS[name](path)
            except RobustkitError as error:
                return str(error)
            return None

        return reads

    def _running(self, name: str, chance: random.Random) -> Callable[[], str | None]:
        path = self.folder / name
        if self._change(path, name, chance):
            return lambda: _run(chance.choice(COMMANDS[name]).format(name).split())
        if name == "part.safetensors":
            for piece in (self.folder / "shard").glob("part-*"):
                piece.write_bytes(path.read_bytes())
        if name.startswith("bundle/") and not name.endswith(NAME) and chance.random() < 0.8:
            listing = self.folder / "bundle" / NAME
            tree = json.loads(listing.read_text())
            tree["files"][path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
            listing.write_bytes(_manifest(tree))
        line = chance.choice(COMMANDS[name]).format(name)
        return lambda: _run(line.split())

    def _change(self, path: Path, name: str, chance: random.Random) -> bool:
        """Changes a file; returns whether it is a pipe now, in which nobody writes."""
        piped = chance.random() < 0.01
        if piped:
            path.unlink()
            os.mkfifo(path)
        else:
            path.write_bytes(changed(self.whole[path], name, chance))
        return piped

    def _judge(self, outcome: Outcome, number: str, does: Callable[[], str | None]) -> None:
        begun, before = time.monotonic(), len(self.watch.outside)
        handler = signal.signal(signal.SIGALRM, _too_long)
        try:
            signal.setitimer(signal.ITIMER_REAL, LONGEST)
            self.watch.on = True
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # a warning is a second line
                said = does()
            if said is None:
                outcome.taken += 1
            elif "\n" in said.strip() or "this is a bug" in said or "Traceback" in said:
                outcome.faults.append(f"{number}: {said.strip()[:300]}")
            else:
                outcome.refused += 1
        except TooLong:
            outcome.slow += 1
            outcome.faults.append(f"{number}: more than {time.monotonic() - begun:.0f} s")
        except BaseException as error:
            outcome.faults.append(f"{number}: {traceback.format_exception(error)[-1].strip()[:300]}")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            self.watch.on = False
        if strange := self.watch.outside[before:]:
            outcome.outside += 1
            outcome.faults.append(f"{number}: wrote {strange[0]}")

    def _restore(self) -> None:
        for path, whole in self.whole.items():
            if not path.is_file() or path.read_bytes() != whole:
                path.unlink(missing_ok=True)  # a pipe, perhaps
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(whole)
        shutil.rmtree(self.folder / "out", ignore_errors=True)


def _asking(command: str, chance: random.Random) -> Callable[[], str | None]:
    value = chance.choice(ODD)
    if chance.random() < 0.4:
        pieces = _pieces(chance.choice(SPELLED))
        pieces[chance.randrange(len(pieces))] = value
        value = "".join(pieces)
    line = {
        "audit": f"audit mlp --data data.npz {ATTACK} --out out",
        "train": "train mlp --data data.npz --epochs 1 --limit 4 --objective standard --eps 0.1 --quiet --out out",
        "gate": "gate report.json",
    }[command]
    option = chance.choice(OPTIONS[command].split())
    return lambda: _run([*line.split(), f"--{option}={value}"])


def _too_long(*_: object) -> None:
    raise TooLong


def _run(words: Sequence[str]) -> str | None:
    """Runs a command; returns what it said where it refused, None where it did its work whatever the answer."""
    said, quiet = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(quiet):
        code = run(words)
    text = said.getvalue()
    return text if code == 2 or code not in range(5) or "Traceback" in text else None


def table(found: dict[str, Outcome]) -> str:
    """Returns what came of all trials as Markdown."""
    head = "| what | trials | refused in one line | taken | tracebacks | over 10 s | outside |"
    lines, total = [head, "|---|" + "---:|" * 6], Counter[str]()
    for name, one in sorted(found.items()):
        raised = len(one.faults) - one.slow - one.outside
        row = {"trials": one.refused + one.taken + raised + one.slow, "refused": one.refused, "taken": one.taken}
        row |= {"raised": raised, "slow": one.slow, "outside": one.outside}
        total.update(row)
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in row.values()) + " |")
    names = ("trials", "refused", "taken", "raised", "slow", "outside")
    return "\n".join([*lines, "| all | " + " | ".join(f"{total[name]:,}" for name in names) + " |"])


@click.command()
@click.option("--trials", default=2000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--only", help="One trial, such as 0/387.")
def main(trials: int, seed: int, only: str | None) -> None:
    """Fuzzes every reader and the command line."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        fuzz = Fuzz(Path(folder).resolve())
        fuzz.try_whole()
        before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
        for number in [only] if only else [f"{seed}/{n}" for n in range(trials)]:
            fuzz.trial(number)
        os.chdir("/")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    click.echo(table(fuzz.found))
    click.echo(f"peak memory {peak >> 10:,} MiB, {before >> 10:,} before the first; {time.monotonic() - begun:.0f} s")
    faults = [f"{name}: {fault}" for name, one in fuzz.found.items() for fault in one.faults]
    click.echo("\n".join(faults), err=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
