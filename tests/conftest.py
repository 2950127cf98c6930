"""Fixtures that more than one test file uses."""

from __future__ import annotations

import importlib.util
import os
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from threadpoolctl import threadpool_limits
from torch import nn

# Two processes share the tests; their networks are too small for more than one thread each.
torch.set_num_threads(1)
threadpool_limits(1)
# No test is timed: a busy machine must not turn one red.
settings.register_profile("robustkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("robustkit")


@pytest.fixture(scope="module")
def quickly() -> Iterator[None]:
    """Bundles are written without the parts that take long."""
    from bundles import quick

    with pytest.MonkeyPatch.context() as patch:
        quick(patch)
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Returns the folder of real data and pretrained networks, or skips the test."""
    named = os.environ.get("ROBUSTKIT_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "load.py").is_file():
        pytest.skip(f"no real data: no load.py in {folder}; set ROBUSTKIT_SHARED_DATA to the folder that has it")
    return folder


@pytest.fixture(scope="session")
def pretrained(shared_data: Path) -> Callable[[str], nn.Module]:
    """Returns a function from a name in the folder `models` of the real data to that network."""
    spec = importlib.util.spec_from_file_location("shared_data_load", shared_data / "load.py")
    if spec is None or spec.loader is None:
        pytest.fail(f"{shared_data / 'load.py'} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def load(name: str) -> nn.Module:
        with warnings.catch_warnings():
            # load.py leaves its two files to the garbage collector.
            warnings.simplefilter("ignore", ResourceWarning)
            network: nn.Module = module.load_model(str(shared_data / "models" / name))
        return network

    return load


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder that is the current directory during the test."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def usual_signals() -> Iterator[None]:
    """Lets requests to end be heard, which a process in the background may have been started to ignore."""
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def evaluation():
    """A small evaluation of the digits CNN."""
    from nets import digits, digits_cnn

    import robustkit
    from robustkit.attacks import FGSM, PGD, Noise

    classifier = robustkit.Classifier(digits_cnn())
    return robustkit.evaluate(classifier, digits(120), [Noise(eps=0.1), FGSM(eps=0.1), PGD(eps=0.1, steps=10)])
