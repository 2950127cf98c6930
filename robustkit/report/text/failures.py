"""What it means, in plain words, that a check of the evaluation failed."""

from __future__ import annotations

from robustkit.report.document.report import Audit

MEANING = {
    "Q01": "The accuracy without attack is not the one that was expected: the model may have been set up wrongly.",
    "Q02": "The inputs do not have the range or type that was declared.",
    "Q03": "The model was not in the mode in which it would be used.",
    "Q04": "The answer for an input depends on which other inputs are shown with it.",
    "Q05": "The model answers the same input differently from one time to the next.",
    "Q06": "The output of the model is not of the kind that the attacks need.",
    "Q07": "For many samples the attacks had no gradient to follow.",
    "Q08": "Some attacked inputs were changed by more than the attacker may change.",
    "Q09": "A second look at the attacked inputs did not confirm what the attacks had reported.",
    "Q10": "Attacks that may change nothing changed the accuracy.",
    "Q11": "Attackers who may change more did not do more damage.",
    "Q12": "Even an attacker who may change nearly everything does not break the model: the attacks do not work on it.",
    "Q13": "An attack of a single step found what the longer attacks missed.",
    "Q14": "The attacks were stopped while they were still finding more.",
    "Q15": "An attack that knows nothing of the model's inside found what the informed attacks missed.",
    "Q16": "Random noise found what the attacks missed.",
    "Q17": "Attacks passed over inputs that were already wrong.",
    "Q18": "The model's answers change too abruptly for the attacks to find their way.",
    "Q19": "What breaks another model breaks samples that the attacks on this one missed.",
    "Q20": "Adversarial inputs hidden on purpose were not found by the attacks.",
    "Q21": "The attacks find something else when the model's scores are merely scaled.",
    "Q22": "The model runs a search of its own on every input, which these attacks do not follow.",
    "Q23": "The samples of the audit were used to tune the model.",
}


def failures(audit: Audit) -> list[tuple[str, str]]:
    """Returns id and plain meaning of every check that failed."""
    failed = [check for check in audit.diagnostics if check.status == "fail"]
    return [(check.id, MEANING.get(check.id, f"This does not hold: {check.title}.")) for check in failed]
