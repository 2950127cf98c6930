"""Mistakes that users make, each with each of three networks: does any end in a wrong number that looks right?

Every case is a small audit from the command line. It must end in the numbers of the honest audit, or with exit code 2
or 3 and a message that names the repair.

    python benchmarks/mistakes.py FOLDER                # the folder with data and networks of others
    python benchmarks/mistakes.py FOLDER --only clamp
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image

from robustkit.cli import run

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NETWORKS = {"mnist_trades": "0.1", "cifar10_resnet2b": "2/255", "cifar10_akamaster_resnet20": "1/255"}
FACTORIES = """
import sys, torch
from torch import nn
sys.path.insert(0, {data!r})
from load import load_model

MEAN, STD = {mean!r}, {std!r}

class Then(nn.Module):
    def __init__(self, before, after=lambda x, z: z, net=None):
        super().__init__()
        self.net, self.before, self.after = net or plain(), before, after
    def forward(self, x):
        return self.after(x, self.net(self.before(x)))

def stretch(values, x):
    return torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)

def same(x):
    return x

def plain():
    return load_model({net!r})

def wants_normalised():
    return Then(lambda x: x * stretch(STD, x) + stretch(MEAN, x))

def clamped():
    return Then(lambda x: x.clamp(0, 1))

def with_features():
    return Then(same, lambda x, z: (x.flatten(1)[:, :64], z))

def one_vs_rest():
    return Then(same, lambda x, z: z.sigmoid())

def softmax():
    return Then(same, lambda x, z: z.softmax(1))

def ordinal():
    return Then(same, lambda x, z: z.softmax(1).flip(1).cumsum(1).flip(1)[:, 1:].logit(1e-6))

def untrained():
    torch.manual_seed(0)
    net = plain()
    for part in net.modules():
        if hasattr(part, "reset_parameters"):
            part.reset_parameters()
    return net

class Flipped(torch.utils.data.Dataset):
    def __init__(self):
        import numpy as np
        file = np.load("honest.npz")
        self.x, self.y = torch.from_numpy(file["images"]), file["labels"]
    def __len__(self):
        return len(self.y)
    def __getitem__(self, index):
        x = self.x[index]
        return torch.roll(x, int(torch.randint(-4, 5, ())), 2), int(self.y[index])
"""


@dataclass
class Case:
    """A folder with the honest data and a module of networks.

    Attributes:
        x: Images (N, C, H, W) in 0..1.
        y: Labels (N,).
        names: What the classes are called, in the order of the outputs.
        mean, std: What one network wants its input to be scaled with.
        eps: Radius of the attack.
        module: Where the networks are.
    """

    x: np.ndarray
    y: np.ndarray
    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    eps: str
    module: str

    def npz(self, x: Any = None, y: Any = None) -> list[str]:
        """Writes arrays and returns the words that name them."""
        np.savez("data.npz", images=self.x if x is None else x, labels=self.y if y is None else y)
        return ["--data", "data.npz"]

    def folder(
        self, name: Callable[[int], str], alter: Callable[[Image.Image, int], Image.Image] | None = None
    ) -> list[str]:
        """Writes a folder of images, each class under its name, and returns the words that name it."""
        for i, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            pixels = (x.transpose(1, 2, 0) * 255).round().astype(np.uint8)
            image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
            place = Path("photos", name(int(y)), f"{i:04}.png")
            place.parent.mkdir(parents=True, exist_ok=True)
            (alter(image, i) if alter else image).save(place)
        return ["--data", "photos"]

    def normalised(self) -> np.ndarray:
        """Returns the images scaled as one network wants them."""
        mean, std = (np.array(c, np.float32)[:, None, None] for c in (self.mean, self.std))
        return (self.x - mean) / std

    def constants(self, factor: float = 1.0) -> list[str]:
        """Returns the options of mean and std."""
        words = [",".join(f"{factor * c:.6g}" for c in values) for values in (self.mean, self.std)]
        return [f"--mean={words[0]}", f"--std={words[1]}"]


def sixteen_bit(image: Image.Image, i: int) -> Image.Image:
    """Returns a grey image with 16 bits; of a coloured data set, a grey first image."""
    if image.mode == "L":
        return Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    return image.convert("L") if i == 0 else image


def two_sets(case: Case) -> list[str]:
    """Writes a checkpoint with the right weights and others."""
    sys.path.insert(0, str(Path.cwd()))
    given = importlib.import_module(case.module)
    right, other = given.plain().state_dict(), given.untrained().state_dict()
    torch.save({"epoch": 7, "state_dict": other, "state_dict_ema": right}, "both.pt")
    sys.path.pop(0)
    return [":untrained", "--weights", "both.pt", *case.npz()]


def sorted_by_class(case: Case) -> list[str]:
    """Returns the words for the images in the order of their classes, a hundred of them."""
    order = np.argsort(case.y, kind="stable")
    return [":plain", *case.npz(case.x[order], case.y[order]), "--limit", "100"]


def other_colours(case: Case) -> list[str]:
    """Returns the words for BGR images; grey ones are inverted."""
    return [":plain", *case.npz(case.x[:, ::-1].copy() if case.x.shape[1] == 3 else 1 - case.x)]


def shuffled_labels(case: Case) -> list[str]:
    """Returns the words for labels that follow the alphabet."""
    return [":plain", *case.npz(y=np.argsort(np.argsort(case.names))[case.y])]


def scaled(case: Case) -> list[str]:
    """Returns the words for images that are normalised in the file."""
    x = case.normalised()
    low, high = float(x.min()) - 1e-3, float(x.max()) + 1e-3
    return [":wants_normalised", *case.npz(x), f"--bounds={low:.4g},{high:.4g}", "--eps", "2/255"]


# What is typed, and words of which one must be in the message that refuses it.
MISTAKES: dict[str, tuple[Callable[[Case], list[str]], tuple[str, ...]]] = {
    "folders by name, --class-names in output order": (
        lambda c: [":plain", *c.folder(lambda y: c.names[y]), "--class-names", ",".join(c.names)],
        ("class",),
    ),
    "folders by name, the model knows no names": (
        lambda c: [":plain", *c.folder(lambda y: c.names[y])],
        ("--class-names", "--class-map"),
    ),
    "folders called 1 to 10": (lambda c: [":plain", *c.folder(lambda y: str(y + 1))], ("class",)),
    "folders called 0 to 9, one class missing": (
        lambda c: [":plain", *dataclasses.replace(c, x=c.x[c.y != 4], y=c.y[c.y != 4]).folder(str)],
        (),
    ),
    "labels from 1": (lambda c: [":plain", *c.npz(y=c.y + 1)], ("1", "offset")),
    "labels in the order of the alphabet": (shuffled_labels, ("order", "permut", "--class")),
    "text labels, the model knows no names": (
        lambda c: [":plain", *c.npz(y=np.array(c.names)[c.y])],
        ("--class-names", "--class-map"),
    ),
    "100 of a set sorted by class": (sorted_by_class, ()),
    "mean and std forgotten": (lambda c: [":wants_normalised", *c.npz()], ("--mean",)),
    "mean and std given twice": (lambda c: [":plain", *c.npz(), *c.constants()], ("mean",)),
    "mean and std in 0..255": (lambda c: [":wants_normalised", *c.npz(), *c.constants(255)], ("255",)),
    "pixels in 0..255 as floats": (lambda c: [":plain", *c.npz(c.x * 255)], ("255",)),
    "normalised in the file, eps 2/255": (scaled, ("eps",)),
    "BGR, or inverted": (other_colours, ("BGR", "invert")),
    "channels last": (lambda c: [":plain", *c.npz(c.x.transpose(0, 2, 3, 1).copy())], ("channel",)),
    "an output (features, logits)": (lambda c: [":with_features", *c.npz()], ("output",)),
    "no weights": (lambda c: [":untrained", *c.npz()], ("weights",)),
    "one sigmoid a class": (lambda c: [":one_vs_rest", *c.npz()], ("sigmoid",)),
    "logits declared probabilities": (
        lambda c: [":plain", *c.npz(), "--output", "probabilities"],
        ("logits", "probabilities"),
    ),
    "probabilities declared logits": (lambda c: [":softmax", *c.npz(), "--output", "logits"], ("probabilities",)),
    "ordinal output": (lambda c: [":ordinal", *c.npz()], ("ordinal", "CORAL", "class")),
    "checkpoint with two sets of weights": (two_sets, ("--weights-key",)),
    "random transform of the test data": (lambda c: [":plain", "--data", ":Flipped"], ("twice", "random")),
    "16-bit PNG, or one grey file": (lambda c: [":plain", *c.folder(str, sixteen_bit)], ("16", "mode")),
    "clamp before the network": (lambda c: [":clamped", *c.npz()], ("clamp",)),
    "eps 8 for 8/255": (lambda c: [":plain", *c.npz(), "--eps", "8"], ("eps",)),
}


def cases(data: Path, network: str) -> Case:
    """Returns the honest data of a network, written to the current folder with a module of its variants."""
    mnist = network.startswith("mnist")
    file = np.load(data / "data" / ("mnist/test.npz" if mnist else "cifar10_lossless/test406.npz"))
    images, labels = file["images"][:400], file["labels"][:400]
    images = images[:, None] if mnist else images.transpose(0, 3, 1, 2)
    x = np.ascontiguousarray(images).astype(np.float32) / 255
    mean, std = ((0.1307,), (0.3081,)) if mnist else ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
    case = Case(x, labels.astype(np.int64), DIGITS if mnist else CIFAR, mean, std, NETWORKS[network], network)
    net = str(data / "models" / network)
    Path(f"{network}.py").write_text(FACTORIES.format(data=str(data), net=net, mean=mean, std=std))
    np.savez("honest.npz", images=case.x, labels=case.y)
    return case


def audit(module: str, words: list[str]) -> tuple[int, str, dict[str, Any]]:
    """Returns the exit code, what was said on standard error, and the only audit of the report."""
    error, screen = io.StringIO(), io.StringIO()
    shutil.rmtree("out", ignore_errors=True)
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(screen):
        named = [f"{module}{word}" if word.startswith(":") else word for word in words]
        code = run(["audit", *named, "--attack", "fgsm", "--probes", "0", "--out", "out", "--quiet"])
    report = Path("out/report.json")
    found = json.loads(report.read_text())["audits"][0] if report.exists() else {}
    return int(code), " ".join((error.getvalue() + screen.getvalue()).split()), found


def counts(found: dict[str, Any]) -> list[int]:
    """Returns how many samples are right, without and under attack, and of how many."""
    return [found["clean"]["k"], found["worst_case"]["accuracy"]["k"], found["clean"]["n"]]


def judge(code: int, said: str, found: dict[str, Any], honest: list[int], words: tuple[str, ...]) -> tuple[bool, str]:
    """Returns whether a case ended well, and how."""
    if code in (2, 3) or not found:
        named = code in (2, 3) and (not words or any(word in said for word in words))
        return named, ("named: " if named else "REFUSED WITHOUT ITS REPAIR: ") + said[-400:]
    got = counts(found)
    if got == honest:
        return True, f"right: {got}"
    told = next((item["message"] for item in found["diagnostics"] if item["id"] == "Q01"), "")
    if any(word in told for word in words):
        return True, f"named in the report, exit code {code}: {told}"
    if got[2] < honest[2]:  # a part of the samples: the intervals must hold the values of all
        inside = all(
            low <= k / honest[2] <= high
            for k, (low, high) in zip(
                honest, (found["clean"]["wilson"], found["worst_case"]["accuracy"]["wilson"]), strict=False
            )
        )
        if inside:
            return True, f"right within its interval: {got}"
    return False, f"WRONG NUMBER, exit code {code}: {got} for {honest}"


@click.command()
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--only", default="", help="Mistakes that hold this text.")
@click.option("--network", "networks", multiple=True, type=click.Choice([*NETWORKS]), default=[*NETWORKS])
def main(data: Path, only: str, networks: tuple[str, ...]) -> None:
    """Runs every mistake with every network and prints how each ended."""
    data = data.resolve()
    bad = total = 0
    for network in networks:
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            case = cases(data, network)
            eps = ["--eps", case.eps]
            code, said, found = audit(network, [":plain", "--data", "honest.npz", *eps])
            if not found:
                raise click.ClickException(f"the honest audit of {network} ended with exit code {code}: {said}")
            honest = counts(found)
            click.echo(f"{network}: honest {honest}")
            for name, (make, words) in MISTAKES.items():
                if only in name:
                    shutil.rmtree("photos", ignore_errors=True)
                    typed = make(case)
                    code, said, found = audit(network, [*([] if "--eps" in typed else eps), *typed])
                    good, how = judge(code, said, found, honest, words)
                    bad, total = bad + (not good), total + 1
                    click.echo(f"  {'ok ' if good else 'BAD'} {name}: {how}")
            os.chdir("/")
    click.echo(f"{total - bad} of {total} ended in the right number or a named repair")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
