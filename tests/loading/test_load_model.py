"""Models from functions, names and files; weights from files that are never allowed to run code."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import sys
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from robustkit.base.errors import ConfigurationError
from robustkit.loading.data import DATASETS
from robustkit.loading.factories import call_factory
from robustkit.loading.model import load_model, load_weights, sha256, weights_sha256
from robustkit.model.small_models import create

SHAPE = (1, 8, 8)
X = torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(0))


def cnn(seed: int = 1) -> nn.Module:
    """A model whose batch normalisation has seen data, so that every buffer matters."""
    model = create("cnn", SHAPE, 10, seed)
    model(X)
    return model.eval()


class MakeFolder:
    """A pickle that makes a folder when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refusal(call: Callable[[], Any]) -> str:
    """The text of the one-line ConfigurationError that `call` raises."""
    with pytest.raises(ConfigurationError) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    return str(caught.value)


# weights

FORMATS: dict[str, Callable[[dict[str, Tensor], Path], Any]] = {
    "a.safetensors": lambda w, p: save_file(w, p),
    "a.pt": lambda w, p: torch.save(w, p),
    "a.pth": lambda w, p: torch.save(OrderedDict(w), p, _use_new_zipfile_serialization=False),
    "state_dict.ckpt": lambda w, p: torch.save({"epoch": 3, "state_dict": w, "lr": 0.1}, p),
    "model_state_dict.tar": lambda w, p: torch.save({"model_state_dict": w}, p),
    "model.bin": lambda w, p: torch.save({"model": w, "optimizer": {"state": {}}}, p),
    "net.t7": lambda w, p: torch.save({"net": w, "acc": 93.1}, p),
    "nested": lambda w, p: torch.save({"model": {"state_dict": w}}, p),
}


@pytest.mark.parametrize("name", FORMATS)
def test_weights_of_every_format_are_read_to_the_bit(tmp_path: Path, name: str) -> None:
    saved, model = cnn(), create("cnn", SHAPE, 10, seed=2)
    FORMATS[name](saved.state_dict(), tmp_path / name)
    assert weights_sha256(model) != weights_sha256(saved)
    assert load_weights(model, tmp_path / name) == ""
    assert weights_sha256(model) == weights_sha256(saved)
    assert model.eval()(X).equal(saved(X))


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "attacker.model.", "module._orig_mod."])
def test_wrapper_prefixes_are_taken_off_and_reported(tmp_path: Path, prefix: str) -> None:
    saved, model = cnn(), create("cnn", SHAPE, 10)
    save_file({prefix + name: value for name, value in saved.state_dict().items()}, tmp_path / "w.safetensors")
    note = load_weights(model, tmp_path / "w.safetensors")
    assert note.startswith(f"wrapper prefixes were taken off {len(saved.state_dict())} names, such as '{prefix}")
    assert weights_sha256(model) == weights_sha256(saved)


def test_a_prefix_that_belongs_to_the_model_stays(tmp_path: Path) -> None:
    model = nn.Sequential(OrderedDict(model=nn.Linear(2, 2)))
    torch.save(model.state_dict(), tmp_path / "w.pt")
    assert load_weights(model, tmp_path / "w.pt") == ""


def test_two_copies_of_the_weights_count_once_unless_they_differ(tmp_path: Path) -> None:
    saved, model = cnn(), create("cnn", SHAPE, 10)
    copies = {
        p + name: v for name, v in saved.state_dict().items() for p in ("module.model.", "module.attacker.model.")
    }
    torch.save({"model": copies}, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert weights_sha256(model) == weights_sha256(saved)
    copies["module.model.0.weight"] = copies["module.model.0.weight"] + 1
    torch.save({"model": copies}, tmp_path / "w.pt")
    assert "two that differ for '0.weight'" in refusal(lambda: load_weights(model, tmp_path / "w.pt"))


def without(*names: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda weights: {name: value for name, value in weights.items() if name not in names}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("0.weight"), "got 1 missing: 0.weight; use the architecture"),
        (without("0.weight", "1.bias", "1.weight", "13.bias"), "4 missing: 0.weight, 1.weight, 1.bias, ...; use"),
        (lambda w: w | {"extra": torch.zeros(1)}, "1 unexpected: extra;"),
        (lambda w: w | {"module.normalizer.mean": torch.zeros(3)}, "1 unexpected: normalizer.mean;"),
        (lambda w: w | {"13.bias": torch.zeros(7)}, "1 mis-shaped: 13.bias (7,) for (10,);"),
        (
            lambda w: without("13.bias")(w) | {"b": torch.zeros(7), "0.weight": torch.zeros(1)},
            "1 missing: 13.bias; 1 unexpected: b; 1 mis-shaped: 0.weight (1,) for (32, 1, 3, 3);",
        ),
    ],
)
def test_weights_that_do_not_fit_exactly_are_refused_and_change_nothing(
    tmp_path: Path, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    model = cnn()
    before = weights_sha256(model)
    torch.save(change(dict(create("cnn", SHAPE, 10, seed=2).state_dict())), tmp_path / "w.pt")
    assert message in refusal(lambda: load_weights(model, tmp_path / "w.pt"))
    assert weights_sha256(model) == before


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({"epoch": 3}, "got a dict of epoch;"),
        ({}, "got a dict of ;"),
        ([torch.zeros(2)], "got list"),
        (torch.zeros(2), "got Tensor"),
        ({"a": torch.zeros(2), "b": 1}, "got a dict of a, b;"),
    ],
)
def test_a_checkpoint_without_named_tensors_is_refused(tmp_path: Path, content: Any, got: str) -> None:
    torch.save(content, tmp_path / "w.pt")
    assert got in refusal(lambda: load_weights(cnn(), tmp_path / "w.pt"))


def damaged(folder: Path) -> dict[str, bytes]:
    """Bytes that are no weights, by file name."""
    weights = dict(cnn().state_dict())
    files = {}
    for name, save in FORMATS.items():
        save(weights, folder / name)
        content = (folder / name).read_bytes()
        files |= {f"half {name}": content[: len(content) // 2], f"start {name}": content[:3]}
    return files | {
        "empty.pt": b"",
        "empty.safetensors": b"",
        "text.pt": b"these are not the weights you are looking for",
        "text.safetensors": b"these are not the weights you are looking for",
        "html.pth": b"<!DOCTYPE html><html>404</html>",
    }


def test_damaged_files_are_refused_in_one_line(tmp_path: Path) -> None:
    model = cnn()
    before = weights_sha256(model)
    for name, content in damaged(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(content)
        for trusted in (False, True):
            text = refusal(lambda path=path, trusted=trusted: load_weights(model, path, trusted))
            assert f"checkpoint '{path}': expected " in text
    assert weights_sha256(model) == before
    assert "got an empty file" in refusal(lambda: load_weights(model, tmp_path / "empty.pt"))
    assert "found none; check the path" in refusal(lambda: load_weights(model, tmp_path / "none.pt"))
    assert "found none" in refusal(lambda: load_weights(model, tmp_path))


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("kind", ["zip", "legacy", "bare pickle"])
def test_a_hostile_checkpoint_runs_nothing(tmp_path: Path, kind: str, protocol: int) -> None:
    trace, path = tmp_path / "trace", tmp_path / "w.pt"
    content = {"state_dict": dict(cnn().state_dict()), "extra": MakeFolder(trace)}
    if kind == "bare pickle":
        path.write_bytes(pickle.dumps(content, protocol=protocol))
    else:
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=kind == "zip")
    for call in (lambda: load_weights(cnn(), path), lambda: load_model(path)):
        text = refusal(call)
        assert not trace.exists()
        assert "none of it was run, and --trust-checkpoint would run the file's code" in text
    if kind != "bare pickle":
        asked = f"{os.mkdir.__module__}.mkdir" if protocol == 2 else "more than that"
        assert f"a pickle that asks for {asked};" in text
        load_weights(cnn(), path, trust_checkpoint=True)
        assert trace.exists()


# hashes


def test_a_file_hash_is_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"abc")
    assert sha256(tmp_path / "f") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    big = bytes(range(256)) * 9000
    (tmp_path / "f").write_bytes(big)
    assert sha256(str(tmp_path / "f")) == hashlib.sha256(big).hexdigest()
    assert "FileNotFoundError" in refusal(lambda: sha256(tmp_path / "g"))


def test_a_weights_hash_is_that_of_names_dtypes_shapes_and_bytes() -> None:
    model = nn.Linear(2, 1)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 2.0]]))
        model.bias.copy_(torch.tensor([3.0]))
    layout = b"bias\0torch.float32\0(1,)\0" + np.float32(3).tobytes()
    layout += b"weight\0torch.float32\0(1, 2)\0" + np.float32([1, 2]).tobytes()
    assert weights_sha256(model) == hashlib.sha256(layout).hexdigest()


def test_a_weights_hash_sees_every_change_of_a_value_a_name_or_a_dtype() -> None:
    hashes = {weights_sha256(cnn())}
    model = cnn()
    for tensor in model.state_dict().values():
        tensor += 1
        hashes.add(weights_sha256(model))
    assert len(hashes) == 1 + len(model.state_dict())
    hashes = {weights_sha256(m) for m in (cnn(), cnn().double(), cnn().bfloat16(), nn.Sequential(cnn()))}
    assert len(hashes) == 4


def test_a_weights_hash_does_not_see_mode_gradients_or_memory_layout() -> None:
    model = create("cnn", SHAPE, 10)
    before = weights_sha256(model)
    model.eval().requires_grad_(False)
    assert weights_sha256(model.to(memory_format=torch.channels_last)) == before
    other = nn.Linear(3, 2)
    first = weights_sha256(other)
    other.weight = nn.Parameter(other.weight.detach().t().contiguous().t())
    assert weights_sha256(other) == first


def test_a_weights_hash_does_not_depend_on_the_order_of_definition() -> None:
    a, b = nn.Linear(2, 2), nn.Linear(2, 2)
    assert weights_sha256(nn.ModuleDict({"a": a, "b": b})) == weights_sha256(nn.ModuleDict({"b": b, "a": a}))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_weights_hash_is_the_same_on_a_gpu() -> None:
    assert weights_sha256(cnn().cuda()) == weights_sha256(cnn())


# functions

OWN_MODULE = """
import torch
from torch import nn
class Net(nn.Linear):
    def __init__(self): super().__init__(4, 3)
instance = Net()
def make():
    import own_helper
    return own_helper.build()
def number(): return 3
def fails(): raise KeyError("no such\\n  layer")
def leaves(): raise SystemExit(2)
def needs(argument): return argument
"""


@pytest.fixture
def own_module(in_folder: Path) -> Path:
    (in_folder / "own_model.py").write_text(OWN_MODULE)
    (in_folder / "own_helper.py").write_text("from torch import nn\ndef build(): return nn.Linear(2, 3)\n")
    (in_folder / "broken.py").write_text("def f(:\n")
    (in_folder / "needy.py").write_text("import no_such_library_of_mine\n")
    (in_folder / "leaver.py").write_text("import sys\nsys.exit('bye')\n")
    return in_folder


@pytest.fixture(autouse=True)
def forget_own_modules() -> Any:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) & {"own_model", "own_helper", "own_data"} - before:
        del sys.modules[name]


def test_a_factory_in_the_current_directory_is_called(own_module: Path) -> None:
    path = list(sys.path)
    assert load_model("own_model:make").in_features == 2
    assert load_model("own_model:Net").in_features == 4
    assert load_model("own_model:instance") is sys.modules["own_model"].instance
    assert sys.path == path


def test_weights_are_loaded_into_what_a_factory_makes(own_module: Path) -> None:
    torch.save(nn.Linear(2, 3).state_dict(), "w.pt")
    model = load_model("own_model:make", weights="w.pt")
    assert model.weight.equal(torch.load("w.pt", weights_only=True)["weight"])
    assert "weights 'w.pt'" in refusal(lambda: load_model("own_model:Net", weights="w.pt"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            "own_modle:make",
            "model 'own_modle:make': expected module 'own_modle', found none; did you mean 'own_model'?",
        ),
        ("own_package.models:make", "expected module 'own_package', found none; "),
        ("torch.no_such:make", "expected module 'torch.no_such', found none; "),
        ("own_model:mak", "expected 'mak' in it, found none; did you mean 'make'?"),
        ("own_model:number", "expected a torch.nn.Module, got int"),
        ("own_model:torch", "expected a torch.nn.Module, got module"),
        ("own_model:fails", "the factory raised KeyError: 'no such\\n layer'; fix it"),
        ("own_model:leaves", "the factory raised SystemExit: 2; fix it"),
        ("own_model:needs", "the factory raised TypeError: needs() missing 1 required positional argument"),
        ("broken:f", "importing it raised SyntaxError: "),
        ("needy:f", "importing it raised ModuleNotFoundError: No module named 'no_such_library_of_mine'"),
        ("leaver:f", "importing it raised SystemExit: bye"),
        ("own_model:", "expected package.module:factory, got 'own_model:'"),
        (":make", "expected package.module:factory, got ':make'"),
        (".own_model:make", "importing it raised TypeError"),
    ],
)
def test_what_goes_wrong_with_a_factory_is_told_in_one_line(own_module: Path, spec: str, message: str) -> None:
    assert message in refusal(lambda: load_model(spec))


def test_a_missing_module_without_neighbours_says_where_to_run(in_folder: Path) -> None:
    assert "found none; run from its folder, or install it" in refusal(lambda: call_factory("zzz:make", DATASETS))


# names


def test_a_small_model_by_name_is_the_one_of_create() -> None:
    model = load_model("cnn", input_shape=SHAPE, num_classes=10)
    assert weights_sha256(model) == weights_sha256(create("cnn", SHAPE, 10))
    assert "expected input_shape and num_classes" in refusal(lambda: load_model("cnn", num_classes=10))
    assert "expected input_shape and num_classes" in refusal(lambda: load_model("cnn", input_shape=SHAPE))


def test_a_torchvision_model_by_name_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    model = load_model("torchvision:squeezenet1_1", num_classes=7)
    assert torch.get_rng_state().equal(before)
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert weights_sha256(load_model("torchvision:squeezenet1_1", num_classes=7)) == weights_sha256(model)
    changed = {name: value + 1 for name, value in model.state_dict().items()}
    torch.save(changed, tmp_path / "w.pt")
    again = load_model("torchvision:squeezenet1_1", num_classes=7, weights=tmp_path / "w.pt")
    assert all(value.equal(changed[name]) for name, value in again.state_dict().items())


def test_a_torchvision_model_has_1000_classes_unless_told() -> None:
    assert load_model("torchvision:squeezenet1_1")(torch.zeros(1, 3, 32, 32)).shape == (1, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_torchvision_models_with_a_deprecated_default_come_without_a_warning(name: str) -> None:
    assert isinstance(load_model(f"torchvision:{name}", num_classes=3), nn.Module)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("torchvision:resnt18", "did you mean 'resnet18'"),
        ("torchvision:fasterrcnn_resnet50_fpn", "expected a torchvision classifier"),
        ("lenett", "did you mean 'lenet'"),
        (
            "folder/model.pt",
            "expected package.module:factory, torchvision:NAME, timm:NAME, robustbench:NAME, hf:NAME, an existing",
        ),
    ],
)
def test_unknown_models_are_refused_with_the_nearest(spec: str, message: str) -> None:
    assert message in refusal(lambda: load_model(spec))


# files that carry a program


def save_torchscript(model: nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated")
        torch.jit.save(torch.jit.script(model), path)


def save_exported(model: nn.Module, path: Path, **options: Any) -> None:
    options = options or {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    torch.compiler.reset()  # old versions count the programs of a process
    file = io.BytesIO()
    torch.export.save(torch.export.export(model, (X[:2],), **options), file)
    path.write_bytes(file.getvalue())


PROGRAMS: dict[str, Callable[[nn.Module, Path], Any]] = {
    "TorchScript": save_torchscript,
    "torch.export": save_exported,
    "pickle": torch.save,
}


@pytest.mark.parametrize("name", ["model.pt", "model.pt2", "model"])
@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_trusted_model_file_is_told_by_its_content_and_can_be_attacked(tmp_path: Path, kind: str, name: str) -> None:
    saved = cnn()
    PROGRAMS[kind](saved, tmp_path / name)
    model = load_model(tmp_path / name, trust_checkpoint=True)
    assert model.eval() is model
    assert not model.training
    for rows in (1, 2, 5):
        assert model(X[:rows]).allclose(saved(X[:rows]), atol=1e-6)
    x = X.clone().requires_grad_()
    cross_entropy(model(x), torch.arange(5)).backward()
    expected = X.clone().requires_grad_()
    cross_entropy(saved(expected), torch.arange(5)).backward()
    assert x.grad is not None
    assert expected.grad is not None
    assert x.grad.allclose(expected.grad, atol=1e-6)
    assert float(x.grad.abs().max()) > 0
    assert weights_sha256(model) == weights_sha256(saved)
    assert model.train() is model


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_model_file_is_not_read_unless_trusted(tmp_path: Path, kind: str) -> None:
    PROGRAMS[kind](cnn(), tmp_path / "model.pt")
    text = refusal(lambda: load_model(str(tmp_path / "model.pt")))
    assert "--trust-checkpoint would run the file's code" in text
    assert ("torch.nn.modules.container.Sequential" if kind == "pickle" else f"got a {kind} program") in text


def test_a_hostile_torch_export_file_runs_nothing_unless_trusted(tmp_path: Path) -> None:
    """torch.export.load itself would run this one: it unpickles the example inputs in full."""
    trace, example = tmp_path / "trace", io.BytesIO()
    torch.save(((MakeFolder(trace),), {}), example)
    path = tmp_path / "model.pt2"
    rewrite_exported(path, "data/sample_inputs/model.pt", example.getvalue())
    refusal(lambda: load_model(path))
    assert not trace.exists()


BEFORE = {
    "models/model.json": "serialized_exported_program.json",
    "data/sample_inputs/model.pt": "serialized_example_inputs.pt",
}


def rewrite_exported(path: Path, entry: str, content: bytes | None) -> None:
    """A torch.export file of the small network with one entry of the archive replaced or left out."""
    save_exported(cnn(), path)
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    if "serialized_exported_program.json" in files:  # the layout of torch 2.6
        files[BEFORE[entry]] = content
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                if data is not None:
                    archive.writestr(name, data)
        return
    reader = torch._C.PyTorchFileReader(str(path))
    writer = torch._C.PyTorchFileWriter(str(path.with_suffix(".new")))
    for name in reader.get_all_records():
        if not name.startswith(".data") and name != "byteorder":
            data = content if name == entry else reader.get_record(name)
            if data is not None:
                writer.write_record(name, data, len(data))
    writer.write_end_of_file()
    path.with_suffix(".new").replace(path)


def test_a_hostile_torchscript_file_runs_nothing_unless_trusted(tmp_path: Path) -> None:
    """TorchScript can open files while it loads."""
    trace, path = tmp_path / "trace", tmp_path / "model.pt"

    class Hostile(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.target = str(trace)
            self.held = torch.zeros(4)

        @torch.jit.export
        def __getstate__(self) -> tuple[str, bool]:  # type: ignore[override]
            return self.target, self.training

        @torch.jit.export
        def __setstate__(self, state: tuple[str, bool]) -> None:
            self.target, self.training = state[0], state[1]
            self.held = torch.from_file(self.target, shared=True, size=4).fill_(1.0)

        def forward(self, x: Tensor) -> Tensor:
            return x

    save_torchscript(Hostile(), path)
    trace.unlink(missing_ok=True)
    refusal(lambda: load_model(path))
    refusal(lambda: load_weights(cnn(), path))
    assert not trace.exists()
    load_model(path, trust_checkpoint=True)
    assert trace.exists(), "this file is not hostile, so the test shows nothing"


def test_a_program_exported_for_one_batch_size_is_refused_with_the_remedy(tmp_path: Path) -> None:
    save_exported(cnn(), tmp_path / "m.pt2", dynamic_shapes=None)
    text = refusal(lambda: load_model(tmp_path / "m.pt2", trust_checkpoint=True))
    assert "a program for exactly 2; export it with dynamic_shapes=({0: torch.export.Dim('batch')},)" in text


def test_weights_given_as_a_model_are_refused_with_the_remedy(tmp_path: Path) -> None:
    for name in ("w.pt", "w.safetensors"):
        FORMATS[f"a.{name.split('.')[1]}"](dict(cnn().state_dict()), tmp_path / name)
        for trusted in (False, True):
            text = refusal(lambda n=name, t=trusted: load_model(tmp_path / n, trust_checkpoint=t))
            assert "name the architecture as the model and give this file as its weights" in text


@pytest.mark.parametrize("kind", ["TorchScript", "torch.export"])
def test_a_damaged_program_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "model"
    PROGRAMS[kind](cnn(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    for trusted in (False, True):
        assert "damaged or foreign file" in refusal(lambda t=trusted: load_model(path, trust_checkpoint=t))


@pytest.mark.parametrize(("entry", "content"), [("models/model.json", b"{}"), ("data/sample_inputs/model.pt", None)])
def test_a_torch_export_file_of_another_make_is_refused_in_one_line_and_nothing_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], entry: str, content: bytes | None
) -> None:
    path = tmp_path / "model.pt2"
    rewrite_exported(path, entry, content)
    text = refusal(lambda: load_model(path, trust_checkpoint=True))
    assert "expected a torch.export program, got a file that cannot be read" in text
    assert capfd.readouterr().err == ""
