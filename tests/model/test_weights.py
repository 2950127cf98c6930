"""Weight files: hashes that know tensors and nothing else, and names that must match; loading is in tests/loading."""

from __future__ import annotations

import hashlib

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.model.weights import load_weights, one_line, sha256, weights_sha256


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
