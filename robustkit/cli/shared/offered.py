"""Names that the shell completes, written out here because looking them up would load torch on every key."""

from __future__ import annotations

from collections.abc import Sequence

import click
from click.shell_completion import CompletionItem

from robustkit.attacks.names import STANDARD


class Offered(click.types.StringParamType):
    """A text for which the shell offers names; others are accepted, such as those of plug-ins and files.

    Args:
        names: What is offered.
        files: Whether files are offered, too, where no name fits.
    """

    def __init__(self, *names: str, files: bool = False) -> None:
        self.names, self.files = names, files

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Returns the names that begin so, or leaves it to the files."""
        found = [CompletionItem(name) for name in self.names if name.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type="file")] if self.files else [])


def _sorted(names: str) -> Sequence[str]:
    return sorted(names.split())


MODEL = Offered(*_sorted("cnn lenet lstm mlp preact_resnet18 strided vit wideresnet"), files=True)
DATA = Offered(*_sorted("cifar10 cifar100 digits fashion-mnist mnist svhn"), files=True)
NORM = Offered("Linf", "L2", "L1", "L0", "L0-pixels", "patch")
PROTOCOL = Offered(*STANDARD)
ATTACK = Offered(
    *_sorted("apgd ddn fab fgsm fmn foolbox hop-skip-jump mifgsm noise patch pgd sigma-zero sparse-rs square"),
    *_sorted("square-pgd transfer"),
)
OBJECTIVE = Offered(*_sorted("augmix awp fgsm fgsm-rs free gradalign ibp mart n-fgsm pgd-at standard trades"))
OUTPUT = Offered("auto", "logits", "probabilities", "log_probabilities", "sigmoid", "binary_logit")
