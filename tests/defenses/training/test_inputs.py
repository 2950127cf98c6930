"""Training inputs that are read batch by batch."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import torch
from tiny_training import TINY, data, net, same

from robustkit.base.errors import ConfigurationError, InvalidEvaluation
from robustkit.data.dataset import Dataset
from robustkit.data.places import locate
from robustkit.defenses import Standard, fit
from robustkit.defenses.training.inputs import Inputs
from robustkit.model.classifier import Classifier


class Pictures:
    """A map-style data set; `broken` is a sample that cannot be given to a model."""

    def __init__(self, x, y, broken=None):
        self.x, self.targets, self.broken = x, y.tolist(), broken

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        return self.x[place] * (torch.nan if place == self.broken else 1), self.targets[place]


def grey(n=30):
    x, y = data(n)
    return x.mul(255).round() / 255, y


def trained(*samples, **settings):
    torch.manual_seed(5)
    model = net()
    fit(Classifier(model), *samples, Standard(), **{**TINY, "epochs": 2, **settings})
    return model.state_dict()


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_change_no_byte():
    x, y = grey()
    first = trained(x, y, epochs=1)
    for workers in (0, 1, 4):
        assert same(first, trained(Pictures(x, y), epochs=1, num_workers=workers))


def test_a_run_with_workers_goes_on_from_its_checkpoint(tmp_path):
    x, y = grey()
    whole = trained(Pictures(x, y), num_workers=1)
    trained(Pictures(x, y), num_workers=1, folder=tmp_path, stop_after=1)
    assert same(whole, trained(Pictures(x, y), num_workers=0, folder=tmp_path, resume=True))


def test_bytes_are_grey_levels_where_inputs_lie_in_0_to_1():
    x, y = grey()
    stored = (x * 255).round().byte()
    first = trained(x, y)
    assert same(first, trained(stored, y))
    assert same(first, trained(stored.numpy(), y.numpy()))
    assert same(first, trained(Pictures(stored, y)))
    with pytest.raises(InvalidEvaluation, match=r"expected floating-point inputs in \(-1.0, 1.0\), got torch.uint8"):
        fit(Classifier(net(), bounds=(-1, 1)), stored, y, Standard())


def test_bytes_of_0_and_1_are_not_taken_for_black():
    x, y = data()
    with pytest.raises(InvalidEvaluation, match=r"grey levels 0..255, got none above 1 .* give x.float\(\)"):
        fit(net(), x.round().byte(), y, Standard())


def test_a_data_set_of_hugging_face_trains_as_its_tensors():
    class Table(Pictures):
        def __init__(self, x, y):
            super().__init__(x, y)
            self.column_names = ["image", "label"]

        def __iter__(self):
            return map(self.__getitem__, range(len(self)))

        def __getitem__(self, place):
            if place in self.column_names:
                return torch.tensor(self.targets)
            return {"image": self.x[place], "label": torch.tensor(self.targets[place])}

    x, y = grey()
    assert same(trained(x, y), trained(Table((x * 255).round().byte(), y)))


def test_a_held_out_split_is_a_list_of_places():
    x, y = data()
    inputs = Inputs(Classifier(net()), locate(Dataset(name="data", source=Pictures(x, y))))
    some = inputs.only(torch.tensor([3, 5])).only(torch.tensor([1]))
    assert some[:].equal(x[5:6])
    assert next(inputs.batches([torch.tensor([9, 2])])).equal(x[[9, 2]])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_sample_that_is_none_is_one_line(workers):
    with pytest.raises(InvalidEvaluation, match="finite inputs") as caught:
        trained(Pictures(*data(), broken=20), num_workers=workers)
    assert "\n" not in str(caught.value)


def test_readers_that_die_are_one_line():
    class Deadly(Pictures):
        def __getitem__(self, place):
            if torch.utils.data.get_worker_info():
                import os

                os._exit(1)
            return super().__getitem__(place)

    with pytest.raises(ConfigurationError, match="use fewer num_workers") as caught:
        trained(Deadly(*data()), num_workers=1)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_set_four_times_as_large_as_the_memory_left_trains():
    script = """
        import resource, torch
        from torch import nn
        from robustkit.defenses import Standard, fit

        class Pictures(torch.utils.data.Dataset):
            targets = [place % 2 for place in range(2000)]
            def __len__(self):
                return 2000
            def __getitem__(self, place):
                return torch.full((3, 128, 128), (place % 7) / 7), place % 2

        model = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(48, 2))
        fit(model, torch.utils.data.Subset(Pictures(), range(200)), Standard(), epochs=1, batch_size=32)
        now = int(open("/proc/self/statm").read().split()[0]) * 4096
        room = 2000 * 3 * 128 * 128 * 4 // 4
        resource.setrlimit(resource.RLIMIT_AS, (now + room, now + room))
        assert fit(model, Pictures(), Standard(), epochs=1, batch_size=32).epochs
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=300)
