"""What was judged and where: the model as it was loaded, and the machine it ran on."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from robustkit.base.settings import Scalar
from robustkit.base.version import __version__
from robustkit.model.classifier import Classifier
from robustkit.model.weights import sha256, weights_sha256
from robustkit.report.document.report import Subject


def environment() -> dict[str, Scalar]:
    """Returns versions, hardware and the switches that can change a result."""
    cuda = torch.cuda.is_available()
    return {
        "robustkit": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": np.__version__,
        "foolbox": version("foolbox"),
        **{name: version(name) for name in ("jinja2", "pillow")},
        "platform": platform.platform(),
        "cuda": torch.version.cuda if cuda else None,
        "gpu": torch.cuda.get_device_name() if cuda else None,
        "threads": torch.get_num_threads(),
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "allow_tf32": torch.backends.cuda.matmul.allow_tf32,
    }


def build_subject(
    classifier: Classifier,
    class_names: tuple[str, ...],
    name: str,
    source: str | None,
    weights: str | Path | None,
    defences: Sequence[str],
) -> Subject:
    """Returns the description of a model, one name for each of its classes; arguments as for `build_audit`."""
    steps = [f"input expected in {classifier.bounds[0]:g}..{classifier.bounds[1]:g}"]
    for verb, constant in (("subtract", classifier.mean), ("divide by", classifier.std)):
        if constant is not None:
            values = ", ".join(f"{value:g}" for value in constant.flatten().tolist()[:4])
            steps.append(f"{verb} {values}{' ...' if constant.numel() > 4 else ''} (differentiable)")
    return Subject(
        name=name,
        source=source,
        architecture=type(classifier.model).__name__,
        parameters=sum(p.numel() for p in classifier.module.parameters()),
        weights_sha256=weights_sha256(classifier.module),
        weights_file_sha256=None if weights is None else sha256(weights),
        defences=tuple(defences),
        preprocess=tuple(steps),
        output=classifier.output,
        dtype=str(classifier.model_dtype).removeprefix("torch."),
        device=str(classifier.device),
        num_classes=len(class_names),
        class_names=class_names,
    )
