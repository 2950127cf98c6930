"""What was asked of an audit, as one value that is checked as a whole before any work."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from robustkit.attacks import create
from robustkit.attacks.names import STANDARD
from robustkit.attacks.protocols import Protocol, custom, get_protocol
from robustkit.attacks.threat import Eps, parse_eps
from robustkit.base.errors import ConfigurationError
from robustkit.base.per_coordinate import overall
from robustkit.base.processes import ranks
from robustkit.bundle.keys import PrivateKey
from robustkit.cli.audit.launch import Launch
from robustkit.cli.shared.model_and_data import ModelAndData, ModelOptions
from robustkit.cli.shared.radius_file import read_radius
from robustkit.cli.shared.report_files import check_folder, check_out
from robustkit.cli.shared.samples import Choice
from robustkit.cli.shared.shards import read_shard
from robustkit.cli.shared.signing import read_signing_key
from robustkit.evaluation.slices import Groups
from robustkit.loading.estimator import Estimator
from robustkit.maths.norms import Norm
from robustkit.report import About
from robustkit.report.requirements.gates import Requirement

DEFAULT_PROTOCOL = "fast"
DEFAULT_EPS = "8/255"
# Of models without gradients: one attack that needs scores, and one that needs labels alone.
WITHOUT_GRADIENTS = ("square:queries=1000", "hop-skip-jump:steps=10,looks=60")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The options of `robustkit audit`, by their names, and what follows from them.

    Raises:
        ConfigurationError: If they contradict each other, or cannot be used as given.
    """

    model: ModelOptions
    norm: Norm
    eps: str
    threats: tuple[tuple[Norm, str], ...]
    mask: Path | None
    attacks: tuple[str, ...]
    protocol: str | None
    strict: bool
    surrogate: str | None
    surrogate_weights: Path | None
    surrogate_weights_key: str | None
    surrogate_mean: str | None
    surrogate_std: str | None
    curve: tuple[str, ...] | None
    minimal: bool
    requirements: tuple[Requirement, ...]
    groups: Groups | None
    samples: Choice
    until: float | None
    time_limit: float | None
    seed: int
    expected_clean_accuracy: float | None
    probes: int
    tuning: str | None
    out: Path | None
    archive: bool
    no_evidence: bool
    no_data_hash: bool
    shard: str | None
    launch: Launch | None
    resume: bool
    finished: tuple[Path, ...]
    name: str | None
    about: About | None
    sign: Path | None
    timestamp: str | None
    quiet: bool

    def __post_init__(self) -> None:
        if self.protocol and self.attacks:
            raise ConfigurationError("audit: expected --protocol or --attack, got both; a protocol fixes its attacks")
        if self.model.schema and (self.mask or self.model.bounds or self.eps != DEFAULT_EPS):
            raise ConfigurationError(
                "audit: expected --schema, or --eps, --mask and --bounds, got both; the schema has them"
            )
        _ = self.surrogate_options
        for norm, eps in self.every_threat:
            self.protocol_for(lambda: 10, norm, eps)  # a wrong name or setting is said before anything is loaded
        self._accept_threats()
        if self.share and (self.early or self.curve or self.minimal):
            raise ConfigurationError(
                "--shard: expected an evaluation of a fixed number of samples alone, got --until, --time-limit, --curve"
                " or --minimal; the first two cannot be shared, the others are for robustkit merge --option NAME"
            )
        if self.launch and (self.share or self.early or ranks().count > 1):
            raise ConfigurationError(
                "--launch: expected an evaluation of a fixed number of samples by one command, got --shard, --until,"
                " --time-limit or torchrun; leave it out"
            )
        if self.share:
            check_folder(self.folder)
        else:
            check_out(self.folder)
        if self.share and self.sign:
            raise ConfigurationError("--sign: expected an audit as a whole, got --shard; give it to robustkit merge")
        ranks().told(lambda: self.key is not None)

    def _accept_threats(self) -> None:
        """Refuses what cannot be measured of them, or together, before any work."""
        if self.minimal and self.norm == "patch":
            raise ConfigurationError("--minimal: expected a norm with a minimal attack, got patch; leave it out")
        if len({(norm, parse_eps(eps)) for norm, eps in self.every_threat}) < len(self.every_threat):
            raise ConfigurationError("--threat: expected distinct threat models, got one twice; drop it")
        if self.threats and (self.share or self.launch or self.early or self.finished or self.model.schema):
            raise ConfigurationError(
                "--threat: expected an evaluation of a fixed number of samples in one piece, got --shard, --launch,"
                " --until, --time-limit or --schema; audit each threat model by itself"
            )

    @cached_property
    def key(self) -> PrivateKey | None:
        """What the report is signed with, read by the first process before any work, which may ask for a password."""
        return read_signing_key(self.sign, self.timestamp) if ranks().first else None

    @cached_property
    def radius(self) -> Eps:
        """The perturbation radius, one for each value of an input where it comes from a file or has a mask."""
        return read_radius(self.eps, self.mask)

    def radius_for(self, loaded: ModelAndData) -> Eps:
        """Returns the radius on data that are loaded: that of their schema, where they have one."""
        schema = loaded.dataset.schema
        return self._on(loaded, self.radius) if schema is None else schema.eps(self.norm)

    def _on(self, loaded: ModelAndData, radius: Eps) -> Eps:
        """Returns a radius on data that are loaded: of several inputs it is that of the attacked one."""
        layout = loaded.dataset.layout
        if layout is None:
            return radius
        if radius == DEFAULT_EPS and overall(loaded.dataset.bounds) != (0.0, 1.0):
            raise ConfigurationError(
                f"audit: expected --eps in the units of {layout.attacked.name}, got none; give it, such as --eps 0.1"
            )
        return layout.eps(radius)

    @cached_property
    def every_threat(self) -> list[tuple[Norm, Eps]]:
        """Norm and perturbation radius of every threat model; a mask is that of all."""
        return [(self.norm, self.radius), *((norm, read_radius(eps, self.mask)) for norm, eps in self.threats)]

    def every_threat_on(self, loaded: ModelAndData) -> list[tuple[Norm, Eps]]:
        """Returns the same on data that are loaded."""
        others = [(norm, self._on(loaded, radius)) for norm, radius in self.every_threat[1:]]
        return [(self.norm, self.radius_for(loaded)), *others]

    @property
    def share(self) -> tuple[int, int] | None:
        """Which of how many shards is done here, counted from 0."""
        return read_shard(self.shard) if self.shard else None

    @property
    def early(self) -> bool:
        """Whether the run may stop before all samples are done."""
        return self.until is not None or self.time_limit is not None

    @property
    def folder(self) -> Path:
        """Where report or shard go."""
        shard = f"robustkit-shard-{self.shard.replace('/', '-of-')}" if self.shard else "robustkit-report"
        return self.out or Path(shard)

    @property
    def parts_folder(self) -> Path:
        """Where finished parts are kept."""
        return self.folder if self.share else self.folder.with_name(f"{self.folder.name}.parts")

    @property
    def finished_folders(self) -> list[Path]:
        """Where finished parts are taken over from."""
        own = [self.parts_folder] if self.resume else []
        launched = self.launch.folders(self.folder).values() if self.launch else ()
        return [*self.finished, *own, *launched]

    @property
    def surrogate_options(self) -> ModelOptions | None:
        """The surrogate: the data and the device are those of the model, what is in front of it is its own."""
        if self.surrogate is None:
            if self.surrogate_weights or self.surrogate_mean or self.surrogate_std:
                raise ConfigurationError("--surrogate: expected a model for the other options of it, got none; give it")
            return None
        return dataclasses.replace(
            self.model,
            model=self.surrogate,
            weights=self.surrogate_weights,
            weights_key=self.surrogate_weights_key,
            mean=self.surrogate_mean,
            std=self.surrogate_std,
            transform="model",
            image_size=None,
            output="auto",
            output_key=None,
            class_names=None,
            class_map=None,
            select_classes=None,
        )

    def protocol_on(self, loaded: ModelAndData, norm: Norm, eps: Eps) -> Protocol:
        """Returns the attacks on what is loaded; by default those that need no gradients where the model has none."""
        chosen = self.attacks
        if isinstance(loaded.classifier.module, Estimator) and not chosen and self.protocol is None:
            chosen = WITHOUT_GRADIENTS
        return self.protocol_for(loaded.count_classes, norm, eps, chosen)

    def protocol_for(
        self, count_classes: Callable[[], int], norm: Norm, eps: Eps, attacks: Sequence[str] = ()
    ) -> Protocol:
        """Returns the attacks of a threat model; classes are counted only where a protocol depends on their number."""
        if chosen := attacks or self.attacks:
            for name in set(chosen) & set(STANDARD):
                raise ConfigurationError(
                    f"--attack: expected an attack, got the protocol {name}; type --protocol {name}"
                )
            return custom([create(spec, norm=norm, eps=eps) for spec in chosen])
        name, classes = self.protocol or DEFAULT_PROTOCOL, count_classes()
        return get_protocol(name, norm=norm, eps=eps, classes=classes, strict=self.strict)
