"""One evaluation: the ledger, what is counted on the way, and the finished result."""

from robustkit.evaluation.curve import minimal_distances, security_curve
from robustkit.evaluation.ledger import Ledger
from robustkit.evaluation.merge import merge_evaluations
from robustkit.evaluation.result import Evaluation

__all__ = ["Evaluation", "Ledger", "merge_evaluations", "minimal_distances", "security_curve"]
