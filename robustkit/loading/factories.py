"""Models and data that a function makes, found by its address or as a plug-in."""

from __future__ import annotations

from typing import Any

from torch import nn

from robustkit.base.errors import ConfigurationError
from robustkit.base.registry import Registry, current_directory_first, raised
from robustkit.base.settings import read, split
from robustkit.model.small_models import SMALL_MODELS

MODELS: Registry[Any] = Registry(
    "model", "robustkit.models", SMALL_MODELS, expected="a function or a module", fits=lambda value: True
)


def call_factory(spec: str, factories: Registry[Any]) -> Any:
    """Returns what the function at `package.module:name`, or of a plug-in, returns; another value is returned itself.

    Args:
        spec: An address or the name of a plug-in, then optionally a colon and arguments `name=value` parted by commas.
        factories: What is made, and by which plug-ins; the current directory is searched before them.

    Raises:
        ConfigurationError: If the function is missing, or importing or calling it raises.
    """
    if not factories.offers(spec):
        raise ConfigurationError(f"{factories.kind}: expected package.module:factory, got '{spec}'; correct it")
    name, items = split(spec)
    factory = factories.find(name)
    arguments = read(f"{factories.kind} '{name}'", items, None)
    if not callable(factory) or (isinstance(factory, nn.Module) and not arguments):
        return factory
    with current_directory_first():
        try:
            return factory(**arguments)
        except (Exception, SystemExit) as error:
            raise raised(factories.kind, spec, "the factory", error) from error
