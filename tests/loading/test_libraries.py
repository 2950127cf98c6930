"""Models of other packages by name and files of other frameworks: built, or refused in one line with what to do."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path

import pytest
import torch
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.loading import load_model
from robustkit.loading.libraries import preset_of
from robustkit.loading.libraries import torchvision as library
from robustkit.loading.transform import read_transform
from robustkit.model.classifier import Classifier


@pytest.mark.parametrize(
    ("spec", "package", "install"),
    [
        ("timm:resnet18", "timm", "pip install timm"),
        ("robustbench:Standard", "robustbench", r"pip install git\+https://github.com/RobustBench/robustbench"),
        ("hf:saved", "transformers", "pip install transformers"),
        ("net.onnx", "onnx", "pip install onnx onnx2torch"),
    ],
)
def test_a_package_that_is_missing_is_named_with_its_install(spec, package, install, in_folder, monkeypatch):
    Path("saved").mkdir()
    Path("saved/config.json").write_text("{}")
    Path("net.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigurationError, match=f"expected {package} to be installed; {install}$"):
        load_model(spec)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("net.keras", "got one of Keras; convert it to ONNX"),
        ("net.h5", "got one of Keras"),
        ("net.tflite", "got one of TensorFlow Lite"),
        ("net.PB", "got one of TensorFlow"),
        ("net.engine", "got one of TensorRT"),
        ("net.safetensors", "name the architecture as the model and give this file as its weights"),
    ],
)
def test_a_file_of_another_framework_is_named(name, message, in_folder):
    Path(name).write_bytes(b"not read")
    with pytest.raises(ConfigurationError, match=message):
        load_model(name)


def test_a_folder_of_a_model_is_named(in_folder):
    for name, file in (("tf", "saved_model.pb"), ("hf", "config.json")):
        Path(name).mkdir()
        Path(name, file).write_text("")
    with pytest.raises(ConfigurationError, match="got one of TensorFlow"):
        load_model("tf")
    with pytest.raises(ConfigurationError, match="write 'hf:hf'"):
        load_model("hf")


def test_onnx_is_converted_where_the_packages_are_and_needs_a_free_batch_axis(in_folder):
    pytest.importorskip("onnx2torch")
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 3)).eval()
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    torch.onnx.export(net, x, "free.onnx", input_names=["x"], dynamic_axes={"x": {0: "n"}}, dynamo=False)
    torch.onnx.export(net, x, "fixed.onnx", dynamo=False)
    assert torch.allclose(load_model("free.onnx")(x[:2]), net(x[:2]), atol=1e-6)
    with pytest.raises(ConfigurationError, match="an ONNX model for exactly 5; export it with a dynamic first axis"):
        load_model("fixed.onnx")


def zoo() -> dict[str, object]:
    linear = {"model": lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 10))}
    other = {"model": lambda: nn.Flatten(), "preprocessing": "Crop"}
    return {"cifar10": {"Linf": {"Good2020": linear, "Standard": linear}, "L2": {"Standard": other}}}


def test_robustbench_gives_the_architecture_and_a_name_may_need_its_path(monkeypatch):
    models = types.ModuleType("robustbench.model_zoo.models")
    models.model_dicts = zoo()
    data = types.ModuleType("robustbench.data")
    data.PREPROCESSINGS = {"Crop": lambda image: torch.zeros(3, 2, 2)}
    for module in (types.ModuleType("robustbench"), types.ModuleType("robustbench.model_zoo"), models, data):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    assert load_model("robustbench:Good2020")(torch.rand(2, 3, 2, 2)).shape == (2, 10)
    assert preset_of("robustbench:Good2020") is None
    assert preset_of("robustbench:L2/Standard").source == "robustbench:L2/Standard"
    with pytest.raises(ConfigurationError, match="got cifar10/Linf/Standard, cifar10/L2/Standard; name it in full"):
        load_model("robustbench:Standard")
    with pytest.raises(ConfigurationError, match="did you mean 'Good2020'"):
        load_model("robustbench:Good2021")


@pytest.fixture
def saved(in_folder):
    """A small vision transformer that save_pretrained wrote, with its image processor."""
    transformers = pytest.importorskip("transformers")
    names = {0: "cat", 1: "dog", 2: "emu"}
    config = transformers.ViTConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, image_size=16, patch_size=8,
        id2label=names, label2id={name: k for k, name in names.items()},
    )  # fmt: skip
    transformers.ViTForImageClassification(config).save_pretrained("vit")
    size = {"height": 16, "width": 16}
    transformers.ViTImageProcessor(size=size, image_mean=[0.4] * 3, image_std=[0.2] * 3).save_pretrained("vit")
    return "hf:vit"


def test_a_folder_of_hugging_face_brings_model_names_mean_and_pixels(saved):
    from PIL import Image

    classifier = Classifier(load_model(saved))
    found = preset_of(saved)
    assert classifier.logits(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    assert (found.class_names, found.mean, found.std) == (("cat", "dog", "emu"), (0.4,) * 3, (0.2,) * 3)
    x = read_transform(saved)(Image.new("RGB", (30, 20), (51, 102, 255)))
    assert x.shape == (3, 16, 16)
    assert torch.allclose(x[:, 3, 3], torch.tensor([0.2, 0.4, 1.0]))


def test_a_folder_of_hugging_face_without_its_head_is_refused(saved):
    from safetensors.torch import load_file, save_file

    weights = load_file("vit/model.safetensors")
    save_file({k: v for k, v in weights.items() if "classifier" not in k}, "vit/model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"got 2 missing keys, such as .*; save the fine-tuned"):
        load_model(saved)


def test_sound_is_standardised_inside_the_model(in_folder):
    from robustkit.loading.libraries.huggingface import Standardised, preset

    Path("ast").mkdir()
    Path("ast/config.json").write_text(json.dumps({"id2label": {"1": "no", "0": "yes"}}))
    settings = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True}
    Path("ast/preprocessor_config.json").write_text(json.dumps(settings))
    assert preset("ast", None).class_names == ("yes", "no")
    assert "standardised inside the model" in preset("ast", None).remark
    x = Standardised(nn.Identity())(3 + torch.rand(2, 50))
    assert torch.allclose(x.mean(1), torch.zeros(2), atol=1e-5)
    assert torch.allclose(x.var(1, correction=0), torch.ones(2), atol=1e-3)


def test_the_weights_say_how_many_classes_a_model_of_a_library_has(tmp_path, monkeypatch):
    monkeypatch.setattr(library.models, "get_model", lambda name, weights, num_classes=1000: nn.Linear(2, num_classes))
    torch.save({"epoch": 3, "state_dict": nn.Linear(2, 7).state_dict()}, tmp_path / "w.pt")
    assert load_model("torchvision:resnet18", tmp_path / "w.pt").out_features == 7
    assert load_model("torchvision:resnet18").out_features == 1000
    with pytest.raises(ConfigurationError, match=r"\(7,.*\(9,"):
        load_model("torchvision:resnet18", tmp_path / "w.pt", num_classes=9)


LAZY = "from torch import nn\ndef f(): return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))\n"


def test_lazy_layers_are_given_their_shape_or_asked_for(in_folder):
    Path("lazy_nets.py").write_text(LAZY)
    assert load_model("lazy_nets:f", input_shape=(1, 4, 4))[1].weight.shape == (3, 16)
    with pytest.raises(ConfigurationError, match="expected input_shape for its lazy layers"):
        load_model("lazy_nets:f")
    with pytest.raises(ConfigurationError, match="got lazy layers; pass one batch through it"):
        Classifier(nn.LazyLinear(3))
    sys.modules.pop("lazy_nets")
