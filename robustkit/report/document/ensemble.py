"""Cross-member transfer and disagreement of an ensemble, as a report holds it."""

from __future__ import annotations

from robustkit.evaluation.ensemble_members import Transfer
from robustkit.model.classifier import Classifier
from robustkit.report.document.report import Ensemble


def ensemble_of(members: Transfer, classifier: Classifier) -> Ensemble:
    """Returns what a report says about the members of `classifier`, from what `members_of` found."""
    several = range(len(members.names))
    pairs = [members.disagreement[i][j].value or 0.0 for i in several for j in range(i)]
    return Ensemble(
        members=members.names,
        combine=str(getattr(classifier.module, "rule", "unknown")),
        clean=members.clean,
        robust=tuple(members.accuracy[i][i] for i in several),
        transfer=tuple(tuple(share.value or 0.0 for share in row) for row in members.carried),
        disagreement=sum(pairs) / len(pairs),
    )
