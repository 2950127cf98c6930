"""`hf:FOLDER`: an image or audio classifier that `save_pretrained` of Hugging Face transformers wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from robustkit.base.errors import ConfigurationError, one_line
from robustkit.base.optional import package
from robustkit.loading.preprocessing import Preprocessing

LOCAL = {"local_files_only": True, "trust_remote_code": False}


def build(name: str, num_classes: int | None) -> nn.Module:
    """Returns the model with the weights in the folder, read from safetensors alone.

    Raises:
        ConfigurationError: If the folder is no such model, it has other classes, or its weights are not complete.
    """
    folder, who = _folder(name), f"model 'hf:{name}'"
    transformers = package("transformers", who)
    quiet = transformers.utils.logging
    level = quiet.get_verbosity()
    quiet.set_verbosity_error()
    quiet.disable_progress_bar()
    try:
        model, report = _load(transformers, folder, who)
    finally:
        quiet.set_verbosity(level)
    for fault in ("missing_keys", "mismatched_keys", "unexpected_keys"):
        if keys := sorted(map(str, report.get(fault) or ())):
            raise ConfigurationError(
                f"{who}: expected all its weights in the folder, got {len(keys)} {fault.replace('_', ' ')}, such as"
                f" {keys[0]}; save the fine-tuned classifier itself with save_pretrained"
            )
    outputs = getattr(model.config, "num_labels", None)
    if num_classes not in (None, outputs):
        raise ConfigurationError(
            f"{who}: expected {outputs} classes as in its config, got {num_classes}; correct --classes"
        )
    return Standardised(model.eval()) if _standardises(folder) else model.eval()


def preset(name: str, weights: Path | None) -> Preprocessing | None:
    """Returns what `preprocessor_config.json` does to pictures, with the class names in the config.

    For sound it is the class names alone.
    """
    folder = _folder(name)
    config = json.loads((folder / "config.json").read_text())
    names = _class_names(config.get("id2label") or {})
    settings = _settings(folder)
    if "image_processor_type" in settings or "image_mean" in settings or "size" in settings:
        found = transform(name)
        return Preprocessing(**{**vars(found), "class_names": names, "num_classes": len(names) if names else None})
    remark = ""
    if _standardises(folder):
        remark = "each input is standardised inside the model, as preprocessor_config.json says"
    elif kind := settings.get("feature_extractor_type"):
        remark = f"inputs are taken for what {kind} returns: it is no part of the model"
    return Preprocessing(source=f"hf:{name}", class_names=names, remark=remark) if names or remark else None


def transform(name: str) -> Preprocessing:
    """Returns what the image processor saved in a folder does to a picture.

    Its scaling and normalisation are found by asking it for a black and a white picture, because their settings differ
    from one processor to the next.

    Raises:
        ConfigurationError: If the folder has none, or it is not linear in the values of the pixels.
    """
    folder, who = _folder(name), f"transform 'hf:{name}'"
    package("transformers", who)
    auto = package("transformers.models.auto.image_processing_auto", who)
    try:
        processor = auto.AutoImageProcessor.from_pretrained(folder, **LOCAL)
    except Exception as error:
        raise ConfigurationError(f"{who}: expected an image processor, got {one_line(error)}; save it there") from error

    def made(image: Image.Image, **settings: Any) -> Tensor:
        out = processor(images=image.convert("RGB"), return_tensors="pt", **settings)["pixel_values"]
        return torch.as_tensor(out)[0]

    def pixels(image: Image.Image) -> Tensor:
        return made(image, **bare)

    bare: dict[str, Any] = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": False}
    if hasattr(processor, "rescale_offset"):
        bare["rescale_offset"] = False
    if hasattr(processor, "include_top"):
        bare["include_top"] = False
    black, grey, white = (made(Image.new("RGB", (400, 400), (v, v, v))).double() for v in (0, 51, 255))
    scale = white - black
    centre = tuple(n // 2 for n in black.shape[1:])
    b, s = black[:, centre[0], centre[1]], scale[:, centre[0], centre[1]]
    if not torch.allclose(black + scale / 5, grey, atol=1e-4) or bool((s <= 0).any()):
        raise ConfigurationError(f"{who}: expected a linear image processor, got another; use package.module:factory")
    mean, std = tuple((-b / s).tolist()), tuple((1 / s).tolist())
    declared = [tuple(map(float, getattr(processor, key, None) or ())) for key in ("image_mean", "image_std")]
    if all(len(d) == len(c) and torch.allclose(torch.tensor(d, device="cpu"), torch.tensor(c, device="cpu"), atol=1e-5)
           for d, c in zip(declared, (mean, std), strict=True)):  # fmt: skip
        mean, std = declared
    return Preprocessing(
        crop=(int(black.shape[1]), int(black.shape[2])),
        mean=mean,
        std=std,
        source=f"hf:{name}",
        function=pixels,
    )


class Standardised(nn.Module):
    """A model of sound behind what `Wav2Vec2FeatureExtractor` does: every row to mean 0 and variance 1."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        """Returns what the model says to standardised rows (N, L)."""
        mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, correction=0)
        return self.model((x - mean) / (variance + 1e-7).sqrt())


def _load(transformers: Any, folder: Path, who: str) -> tuple[nn.Module, dict[str, Any]]:
    last: Exception | None = None
    for kind in ("AutoModelForImageClassification", "AutoModelForAudioClassification"):
        try:
            found = getattr(transformers, kind).from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, **LOCAL
            )
            return found[0], found[1]
        except ValueError as error:  # the configuration is that of another kind of model
            last = error
            if "nrecognized configuration" not in str(error):
                break
        except Exception as error:
            last = error
            break
    assert last is not None
    raise ConfigurationError(
        f"{who}: expected an image or audio classifier with model.safetensors, got {one_line(last)}; save it with"
        " save_pretrained"
    ) from last


def _folder(name: str) -> Path:
    folder = Path(name).expanduser()
    if not (folder / "config.json").is_file():
        got = "no config.json in it" if folder.is_dir() else "no such folder"
        raise ConfigurationError(
            f"model 'hf:{name}': expected a folder written by save_pretrained, got {got}; nothing is downloaded"
        )
    return folder


def _settings(folder: Path) -> dict[str, Any]:
    file = folder / "preprocessor_config.json"
    settings: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return settings


def _standardises(folder: Path) -> bool:
    settings = _settings(folder)
    kind = str(settings.get("feature_extractor_type"))
    return kind == "Wav2Vec2FeatureExtractor" and bool(settings.get("do_normalize"))


def _class_names(labels: dict[str, str]) -> tuple[str, ...] | None:
    names = tuple(labels[key] for key in sorted(labels, key=int))
    return None if all(re.fullmatch(r"LABEL_\d+", name) for name in names) else names
