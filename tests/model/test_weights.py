"""Weight files: hashes that know tensors and nothing else, and names that must match; loading is in tests/loading."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections import OrderedDict
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save, save_file
from torch import nn
from torchvision.models.vision_transformer import MLPBlock

from robustkit.base.errors import ConfigurationError
from robustkit.model.weights import load_weights, note_of, one_line, sha256, weights_sha256


def layer(**changes) -> nn.Linear:
    made = nn.Linear(2, 2, **changes)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        made.bias.zero_()
    return made


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path):
    content = bytes(range(256)) * 5000  # longer than a block
    (tmp_path / "file").write_bytes(content)
    assert sha256(tmp_path / "file") == hashlib.sha256(content).hexdigest()
    with pytest.raises(ConfigurationError, match="expected a readable file"):
        sha256(tmp_path / "none")


def test_the_hash_of_weights_is_over_names_types_shapes_and_bytes_by_name():
    digest = hashlib.sha256()
    for name, value in (("bias", torch.zeros(2)), ("weight", torch.tensor([[1.0, 2.0], [3.0, 4.0]]))):
        digest.update(f"{name}\0torch.float32\0{tuple(value.shape)}\0".encode() + value.numpy().tobytes())
    assert weights_sha256(layer()) == digest.hexdigest()


def test_any_change_of_a_tensor_changes_the_hash_and_memory_layout_does_not():
    first = weights_sha256(layer())
    flipped, renamed, turned = layer(), nn.Sequential(layer()), layer()
    with torch.no_grad():
        flipped.weight[0, 0] = -1.0
    turned.weight = nn.Parameter(turned.weight.detach().t().contiguous().t())
    assert weights_sha256(turned) == first
    assert len({first, *map(weights_sha256, (flipped, renamed, layer().double(), layer().bfloat16()))}) == 5


def test_weights_are_filled_in_and_wrappers_taken_off(tmp_path):
    save_file({f"module.{k}": v for k, v in layer().state_dict().items()}, tmp_path / "w.safetensors")
    target = nn.Linear(2, 2)
    said = load_weights(target, tmp_path / "w.safetensors")
    assert said == "wrapper prefixes were taken off 2 names, such as 'module.bias'"
    assert weights_sha256(target) == weights_sha256(layer())
    save_file(layer().state_dict(), tmp_path / "w.safetensors")
    assert load_weights(nn.Linear(2, 2), tmp_path / "w.safetensors") == ""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda w: w.pop("bias"), "1 missing: bias"),
        (lambda w: w.update(extra=torch.zeros(1)), "1 unexpected: extra"),
        (lambda w: w.update(bias=torch.zeros(3)), r"1 mis-shaped: bias \(3,\) for \(2,\)"),
        (lambda w: w.update({"model.bias": torch.ones(2)}), "two that differ for 'bias', one as 'model.bias'"),
    ],
)
def test_other_weights_are_refused_and_the_module_is_left_alone(tmp_path, change, named):
    weights = dict(layer().state_dict())
    change(weights)
    save_file(weights, tmp_path / "w.safetensors")
    target = nn.Linear(2, 2)
    before = weights_sha256(target)
    with pytest.raises(ConfigurationError, match=named):
        load_weights(target, tmp_path / "w.safetensors")
    assert weights_sha256(target) == before


def test_the_same_tensor_under_two_names_is_taken_once(tmp_path):
    weights = {**layer().state_dict(), "model.bias": torch.zeros(2)}
    save_file(weights, tmp_path / "w.safetensors")
    load_weights(target := nn.Linear(2, 2), tmp_path / "w.safetensors")
    assert weights_sha256(target) == weights_sha256(layer())


def test_an_error_in_one_line_has_its_type_and_no_colours():
    assert one_line(ValueError("a\n  \x1b[31mb")) == "ValueError: a b"
    assert one_line(ValueError()) == "ValueError"
    assert len(one_line(ValueError("x" * 500))) == 200


# names


def net(seed: int = 0) -> nn.Sequential:
    """Two layers with a BatchNorm between them, whose statistics are not those of a fresh one."""
    torch.manual_seed(seed)
    made = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
    made(torch.randn(8, 2))
    return made


@pytest.fixture(autouse=True)
def _same_random_numbers():
    with torch.random.fork_rng():
        yield


def loaded(path: Path, content, seed: int = 0, **options) -> str:
    """Saves and loads it; returns what was said, after a check that the weights are those of `net(seed)`."""
    torch.save(content, path / "w.pt")
    target = net(9)
    said = load_weights(target, path / "w.pt", **options)
    assert weights_sha256(target) == weights_sha256(net(seed))
    assert note_of(nn.Sequential(target)) == said
    return said


def refused(module: nn.Module, path: Path, **options) -> str:
    before = weights_sha256(module)
    with pytest.raises(ConfigurationError) as caught:
        load_weights(module, path, **options)
    assert weights_sha256(module) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def prefixed(prefix: str, weights: dict) -> dict:
    return {prefix + name: value for name, value in weights.items()}


@pytest.mark.parametrize(
    "prefix", ["net.", "backbone.", "encoder.", "0.", "any.thing.", "module.net.", "model.model.net."]
)
def test_a_prefix_that_all_names_share_is_taken_off_and_said(tmp_path, prefix):
    said = loaded(tmp_path, {"state_dict": prefixed(prefix, net().state_dict())})
    assert "taken off" in said
    assert prefix.removeprefix("module.").removeprefix("model.model.") in said


def test_the_versions_of_parts_follow_their_names(tmp_path):
    """An older layer renames its weights by the version it finds; without the version it would rename them twice."""
    block = MLPBlock(2, 3, 0.0)
    weights = OrderedDict(prefixed("net.", block.state_dict()))
    weights._metadata = {f"net.{k}".rstrip("."): v for k, v in block.state_dict()._metadata.items()}
    torch.save(weights, tmp_path / "w.pt")
    target = MLPBlock(2, 3, 0.0)
    load_weights(target, tmp_path / "w.pt")
    assert weights_sha256(target) == weights_sha256(block)


def test_names_that_a_layer_itself_knows_from_older_versions_are_accepted_and_said(tmp_path):
    block = MLPBlock(2, 3, 0.0)
    older = {k.replace("0.", "linear_1.").replace("3.", "linear_2."): v for k, v in block.state_dict().items()}
    torch.save(older, tmp_path / "w.pt")
    target = MLPBlock(2, 3, 0.0)
    said = load_weights(target, tmp_path / "w.pt")
    assert said.startswith("MLPBlock itself accepts 4 missing: 0.weight, 0.bias, 3.weight, ...; 4 unexpected")
    assert weights_sha256(target) == weights_sha256(block)


def test_wrappers_inside_of_names_are_taken_off(tmp_path):
    assert "3 names" in loaded(
        tmp_path,
        {
            k.replace("1.", "1._orig_mod.", 1) if k[:3] in ("1.w", "1.b", "1.n") else k: v
            for k, v in net().state_dict().items()
        },
    )


def test_bookkeeping_of_wrappers_is_passed_over_and_said(tmp_path):
    averaged = {**prefixed("module.", net().state_dict()), "n_averaged": torch.tensor(3)}
    assert "passed over: n_averaged" in loaded(tmp_path, averaged)
    counted = {**net().state_dict(), "total_ops": torch.zeros(1), "0.total_params": torch.zeros(1)}
    assert "passed over: total_ops, 0.total_params" in loaded(tmp_path, counted)


@pytest.mark.parametrize("versions", [True, False])
def test_missing_batch_counters_are_no_reason_to_refuse(tmp_path, versions):
    weights = net().state_dict() if versions else dict(net().state_dict())
    del weights["1.num_batches_tracked"]
    torch.save(weights, tmp_path / "w.pt")
    target = net(9)
    assert "1 missing num_batches_tracked left as they are" in load_weights(target, tmp_path / "w.pt")
    assert weights_sha256(target) == weights_sha256(net())


@pytest.mark.parametrize("extra", ["fc2.weight", "aux.0.bias", "head.weight"])
def test_tensors_that_fit_nothing_stay_refused(tmp_path, extra):
    for prefix in ("", "net.", "module."):
        torch.save({**prefixed(prefix, net().state_dict()), prefix + extra: torch.zeros(2)}, tmp_path / "w.pt")
        assert f"1 unexpected: {extra}; use the architecture" in refused(net(9), tmp_path / "w.pt")


def test_other_precision_is_said_and_complex_numbers_are_refused(tmp_path):
    half = {k: v.half() if v.is_floating_point() else v for k, v in net().state_dict().items()}
    torch.save(half, tmp_path / "w.pt")
    assert load_weights(net(9), tmp_path / "w.pt") == "8 tensors were converted from float16 to float32"
    torch.save({**net().state_dict(), "0.bias": torch.zeros(3, dtype=torch.complex64)}, tmp_path / "w.pt")
    assert "1 complex for real: 0.bias" in refused(net(9), tmp_path / "w.pt")


def test_a_module_that_swallows_missing_weights_is_not_filled_in_part_without_a_word(tmp_path):
    class Lenient(nn.Linear):
        def load_state_dict(self, weights, strict=True, assign=False):
            return super().load_state_dict(weights, strict=False, assign=assign)

    torch.save({"weight": torch.zeros(2, 2)}, tmp_path / "w.pt")
    assert load_weights(Lenient(2, 2), tmp_path / "w.pt") == "Lenient itself accepts 1 missing: bias"


def test_tied_lazy_and_extra_state_load_as_torch_loads_them(tmp_path):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.one = self.two = nn.Linear(2, 2)
            self.seen = "nothing"

        def get_extra_state(self):
            return {"seen": self.seen}

        def set_extra_state(self, state):
            self.seen = state["seen"]

    saved = Tied()
    saved.seen = "much"
    weights = {k: v for k, v in saved.state_dict().items() if not k.startswith("two.")}
    torch.save({"state_dict": prefixed("net.", weights)}, tmp_path / "w.pt")
    load_weights(target := Tied(), tmp_path / "w.pt")
    assert target.seen == "much"
    assert torch.equal(target.two.weight, saved.one.weight)
    torch.save(nn.Linear(3, 2).state_dict(), tmp_path / "w.pt")
    load_weights(lazy := nn.LazyLinear(2), tmp_path / "w.pt")
    assert lazy.weight.shape == (2, 3)


def test_a_module_that_refuses_at_the_last_moment_is_left_as_it_was(tmp_path):
    class Refuses(nn.Linear):
        def load_state_dict(self, weights, strict=True, assign=False):
            super().load_state_dict(weights)
            raise RuntimeError("no")

    torch.save(layer().state_dict(), tmp_path / "w.pt")
    assert "got RuntimeError: no; use" in refused(Refuses(2, 2), tmp_path / "w.pt")


# sets


@pytest.mark.parametrize(
    "keys",
    [
        "weights",
        "ema",
        "best_state",
        "params",
        "network",
        "state_dict_ema",
        "generator.model",
        "a.b.c",
        "model.state_dict",
    ],
)
def test_weights_are_found_under_any_key(tmp_path, keys):
    content = net().state_dict()
    for key in reversed(keys.split(".")):
        content = {
            key: content,
            "epoch": 3,
            "optimizer": {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []},
        }
    assert loaded(tmp_path, content) == ""


def test_sets_that_fit_and_differ_are_refused_and_a_key_chooses(tmp_path):
    content = {"state_dict": net(0).state_dict(), "state_dict_ema": net(1).state_dict(), "rng": {"cpu": torch.ones(2)}}
    torch.save(content, tmp_path / "w.pt")
    assert "got 2 that differ; choose with --weights-key state_dict or state_dict_ema" in refused(
        net(9), tmp_path / "w.pt"
    )
    assert loaded(tmp_path, content, seed=1, key="state_dict_ema") == ""
    assert loaded(tmp_path, content, seed=0, key="state_dict") == ""
    assert "did you mean 'state_dict_ema'" in refused(net(9), tmp_path / "w.pt", key="state_dict_em")
    torch.save(net().state_dict(), tmp_path / "w.pt")
    assert "leave it out" in refused(net(9), tmp_path / "w.pt", key="ema")


def test_sets_that_are_equal_and_sets_that_fit_nothing_need_no_choice(tmp_path):
    assert loaded(tmp_path, {"model": net().state_dict(), "ema": {"module": net().state_dict()}}) == ""
    other = {"critic": nn.Linear(5, 5).state_dict(), "model": net().state_dict()}
    assert loaded(tmp_path, other) == ""
    assert loaded(tmp_path, {"a": other, "b": {"model": net(1).state_dict()}}, key="a") == ""


def test_a_part_of_a_state_dict_is_chosen_by_its_prefix(tmp_path):
    """As in checkpoints of trainers, where names of the criterion or of a teacher stand beside those of the net."""
    weights = {**prefixed("net.", net(0).state_dict()), **prefixed("teacher.net.", net(1).state_dict())}
    torch.save({"state_dict": weights}, tmp_path / "w.pt")
    message = refused(net(9), tmp_path / "w.pt")
    assert message.endswith("choose a part with --weights-key state_dict.net or state_dict.teacher.net")
    said = loaded(tmp_path, {"state_dict": weights}, seed=1, key="state_dict.teacher")
    assert said == "the prefix 'net.' was taken off all 9 names; 9 tensors outside 'state_dict.teacher' were left out"
    assert loaded(tmp_path, weights, seed=0, key="net") == "9 tensors outside 'net' were left out"


# files


def pickled_arrays(path: Path) -> None:
    path.write_bytes(pickle.dumps({k: v.numpy() for k, v in net().state_dict().items()}))


def archive(weights: dict) -> bytes:
    np.savez(file := io.BytesIO(), **{k: v.numpy() for k, v in weights.items()})
    return file.getvalue()


def cut(path: Path, share: float) -> None:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])


FILES = {
    "pointer.pt": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "a Git LFS pointer"),
    "pointer.safetensors": (b"version https://git-lfs.github.com/spec/v1\n", "run git lfs pull"),
    "page.pth": (b"\n<!DOCTYPE html>\n<html>404</html>", "a web page"),
    "page.safetensors": (b"<?xml version='1.0'?><Error/>", "a web page"),
    "model.h5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
    "a.npy": (b"\x93NUMPY\x01\x00", "one NumPy array"),
    "a.pt.gz": (b"\x1f\x8b\x08" + bytes(50), "packed with gzip; unpack it"),
    "model.onnx": (b"\x08\x07\x12\x07pytorch\x1a\x03", "an ONNX model"),
    "model.safetensors.index.json": (
        json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}}).encode(),
        "the index of a checkpoint in 2 files",
    ),
    "config.json": (b'{"hidden": 3}', "a JSON text"),
    "notes.txt": (b"these are not the weights you are looking for", "a text that begins 'these are not"),
    "noise.pt": (bytes(range(255, 0, -1)), "a damaged or foreign file"),
    "noise.safetensors": (bytes(range(255, 0, -1)), "a damaged or foreign file"),
    "header.safetensors": (save(dict(net().state_dict()))[:40], "a damaged or foreign file"),
}


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_something_else_is_called_what_it_is(tmp_path, name, trust):
    content, called = FILES[name]
    (tmp_path / name).write_bytes(content)
    message = refused(net(), tmp_path / name, trust_checkpoint=trust)
    assert called in message
    assert "--trust-checkpoint" not in message


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors", "npz"])
def test_a_file_that_ends_too_early_is_called_damaged(tmp_path, kind, share):
    weights, path = dict(net().state_dict()), tmp_path / "w"
    save_as = {
        "zip": torch.save,
        "legacy": partial(torch.save, _use_new_zipfile_serialization=False),
        "safetensors": save_file,
        "npz": lambda w, p: p.write_bytes(archive(w)),
    }
    save_as[kind](weights, path)
    cut(path, share)
    message = refused(net(), path)
    assert "a damaged or foreign file" in message
    assert "--trust-checkpoint" not in message


def test_the_content_decides_and_not_the_suffix(tmp_path):
    weights = dict(net().state_dict())
    save_file(weights, tmp_path / "one.pt")
    torch.save(weights, tmp_path / "two.safetensors")
    for name in ("one.pt", "two.safetensors"):
        load_weights(target := net(9), tmp_path / name)
        assert weights_sha256(target) == weights_sha256(net())


def test_arrays_by_name_are_weights_and_objects_are_not(tmp_path):
    (tmp_path / "w.npz").write_bytes(archive(net().state_dict()))
    load_weights(target := net(9), tmp_path / "w.npz")
    assert weights_sha256(target) == weights_sha256(net())
    np.savez(tmp_path / "w.npz", weights=np.array([{}], dtype=object))
    assert "expected plain arrays" in refused(net(), tmp_path / "w.npz")


def test_pickled_arrays_are_named_and_read_only_where_they_are_trusted(tmp_path):
    pickled_arrays(tmp_path / "w.pkl")
    message = refused(net(), tmp_path / "w.pkl")
    assert "a pickle of NumPy arrays; save them with numpy.savez" in message
    assert "--trust-checkpoint" not in message
    load_weights(target := net(9), tmp_path / "w.pkl", trust_checkpoint=True)
    assert weights_sha256(target) == weights_sha256(net())


def test_a_numpy_number_beside_the_weights_needs_no_trust(tmp_path):
    assert loaded(tmp_path, {"state_dict": net().state_dict(), "best": np.float64(0.9), "n": np.int64(3)}) == ""
