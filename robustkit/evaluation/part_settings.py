"""What of a model and its attacks decides the results of a finished part."""

from __future__ import annotations

from robustkit.attacks.protocols import Protocol
from robustkit.attacks.transfer import Transfer
from robustkit.model.classifier import Classifier
from robustkit.model.weights import weights_sha256


def settings_of(classifier: Classifier, protocol: Protocol) -> dict[str, str]:
    """Returns model and attacks as text, by what they are called in an error."""
    surrogates = [attack.surrogate for attack in protocol.attacks if isinstance(attack, Transfer)]
    constants = [None if c is None else c.flatten().tolist() for c in (classifier.mean, classifier.std)]
    return {
        "protocol": f"{protocol.label} {protocol.fingerprint(classifier.model_dtype)}",
        "model": f"{type(classifier.model).__name__} {weights_sha256(classifier.module)}",
        "surrogates": " ".join(weights_sha256(other.module) for other in surrogates if other),
        "input": f"{classifier.bounds}, mean {constants[0]}, std {constants[1]}",
        "output": classifier.output,
        "draws": str(classifier.draws),
    }
