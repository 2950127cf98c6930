"""What it means, in plain words, that a check of the evaluation failed."""

from __future__ import annotations

from robustkit.checks.diagnostic import check_name
from robustkit.report.document.report import Audit

MEANING = {
    "Q01": "Clean accuracy is not as expected: the model may be set up wrongly.",
    "Q02": "The inputs do not have the declared range or type.",
    "Q03": "The model was not in eval mode.",
    "Q04": "Predictions depend on batch composition.",
    "Q05": "The model's predictions are not deterministic.",
    "Q06": "The model's output is not of the kind that the attacks need.",
    "Q07": "For many samples the attacks had no gradient to follow.",
    "Q08": "Some adversarial inputs lie outside the threat model.",
    "Q09": "A second pass over the adversarial inputs did not confirm the reported outcomes.",
    "Q10": "Attacks with a radius of zero changed the accuracy.",
    "Q11": "Attacks with a larger radius did not do more damage.",
    "Q12": "Attacks with unbounded eps do not break the model: the attacks do not work on it.",
    "Q13": "A single-step attack broke samples that the iterative attacks missed.",
    "Q14": "The attacks had not converged.",
    "Q15": "A black-box attack broke samples that the white-box attacks missed.",
    "Q16": "Random noise broke samples that the attacks missed.",
    "Q17": "Attacks discarded points that were already adversarial.",
    "Q18": "The loss surface is too rough for gradient-based attacks.",
    "Q19": "Adversarial examples transferred from a surrogate break samples that the direct attacks missed.",
    "Q20": "The attacks missed adversarial examples that were planted for them to find.",
    "Q21": "The attacks find different adversarial examples when the logits are merely rescaled.",
    "Q22": "The model runs an optimisation of its own on every input, which these attacks do not follow.",
    "Q23": "The model was tuned on the samples of the audit.",
    "Q24": "The gradients that the attacks followed are not those of the model's function.",
}


def failed_checks(audit: Audit) -> list[tuple[str, str]]:
    """Returns name and plain meaning of every check that failed."""
    failed = [check for check in audit.diagnostics if check.status == "fail"]
    return [(check_name(check.id), MEANING.get(check.id, f"This does not hold: {check.title}.")) for check in failed]
