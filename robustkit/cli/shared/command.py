"""What every command has: options in groups, the most used first, and a file that may hold them, an answer as JSON."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import click

from robustkit.base.errors import ConfigurationError, suggest
from robustkit.base.toml_file import read_toml
from robustkit.cli.shared.answer import answering
from robustkit.cli.shared.command_line import without
from robustkit.cli.shared.option_types import Typed

FEW = 13  # options that need no groups
FIRST = ("--data", "--weights", "--norm", "--eps", "--protocol", "--objective", "--epochs", "--out")
REST = "Other options"
TEXT = (click.types.StringParamType, Typed)  # what may stand as a list, its items parted by commas
GROUPS = {
    "Model": "weights-key trust-checkpoint output output-key classes class-names class-map bounds mean std transform "
    "image-size eot-samples replace-head head head-epochs name",
    "Data": "data-root split label-column limit first select select-classes groups tuning-data held-out",
    "Attacks": "attack strict surrogate surrogate-weights surrogate-weights-key surrogate-mean surrogate-std curve "
    "minimal probes",
    "Report": "require expected-clean-accuracy about archive sign timestamp no-evidence no-data-hash",
    "Run": "device batch-size seed until time-limit shard launch resume config json quiet help",
}
JSON = "Print the answer as one JSON document instead."
_AS_JSON = "robustkit.json"


class Command(click.Command):
    """A sub-command."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        help = 'TOML file of options by their names, such as eps = "4/255"; what is typed goes before it.'
        self.params.append(click.Option(["--config"], metavar="FILE", expose_value=False, help=help))
        self.params.append(click.Option(["--json"], is_flag=True, expose_value=False, callback=_remember, help=JSON))

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Takes the words of the command line, and those that a file stands for.

        The words are remembered as if all had been typed: what a report records, and `--resume`, need no file.
        """
        values, _, order = self.make_parser(ctx).parse_args(args=list(args))
        if isinstance(file := values.get("config"), str):
            typed = {param.name for param in order if isinstance(param, click.Option) or _given(values, param)}
            args = [*self._words(ctx, Path(file), typed), *without(args, ["--config"])]
            ctx.find_root().obj = [self.name, *args]
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command; with --json what it answers is printed as a whole."""
        if not ctx.meta.get(_AS_JSON):
            return super().invoke(ctx)
        for name in ("markdown", "out"):
            if ctx.params.get(name) == "-":
                raise ConfigurationError(f"--json: expected standard output for itself, got --{name} -; name a file")
        with answering():
            return super().invoke(ctx)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options by group, or as they come where they are few."""
        options = [param for param in self.get_params(ctx) if isinstance(param, click.Option)]
        shown = {option: record for option in options if (record := option.get_help_record(ctx))}
        groups: dict[str, list[tuple[str, str]]] = {"Options": [], REST: [], **{title: [] for title in GROUPS}}
        for option, record in shown.items():
            groups[_group(option) if len(shown) > FEW else "Options"].append(record)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl(records, col_max=30 if formatter.width > 58 else 1)

    def _words(self, ctx: click.Context, file: Path, typed: Collection[str | None]) -> Iterator[str]:
        known = {name.strip("-"): param for param in self.get_params(ctx) for name in param.opts}
        for key, value in read_toml(file, "--config").items():
            name = key.replace("_", "-") if key not in known else key
            if name not in known or name in ("config", "help"):
                options = [name for name in known if name not in ("config", "help")]
                raise ConfigurationError(
                    f"--config '{file}': expected options of {self.name}, got {key!r}{suggest(name, options)}"
                )
            words = [*_spelled(known[name], name, value, file)]
            yield from () if known[name].name in typed else words


def _remember(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[_AS_JSON] = value


def _given(values: dict[str, Any], param: click.Parameter) -> bool:
    return isinstance(value := values.get(param.name or ""), str | tuple) and bool(value)


def _group(option: click.Option) -> str:
    if any(name in FIRST for name in option.opts):
        return "Options"
    return next(
        (title for title, names in GROUPS.items() if any(name[2:] in names.split() for name in option.opts)), REST
    )


def _spelled(param: click.Parameter, name: str, value: Any, file: Path) -> Iterator[str]:
    """Yields the words that give an option, or an argument, a value of a file."""
    flag = isinstance(param, click.Option) and param.is_flag
    values = value if isinstance(value, list) and (param.multiple or isinstance(param.type, TEXT)) else [value]
    plain = all(isinstance(item, str | int | float) and "\0" not in str(item) for item in values)
    if isinstance(value, bool) is not flag or not plain:
        what = "true or false" if flag else "a text or a number"
        raise ConfigurationError(f"--config '{file}': expected {what} for {name}, got {value!r}; correct it")
    if flag:
        yield from [f"--{name}"] if value else param.secondary_opts[:1]
    elif isinstance(param, click.Argument):
        yield from map(str, values)
    elif param.multiple:
        yield from (f"--{name}={item}" for item in values)
    else:
        yield f"--{name}={','.join(map(str, values))}"
