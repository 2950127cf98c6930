"""One evaluation: the ledger, what is counted on the way, and the finished result."""

from .curve import minimal_distances, security_curve
from .ledger import Ledger
from .merge import merge_evaluations
from .result import Evaluation

__all__ = ["Evaluation", "Ledger", "merge_evaluations", "minimal_distances", "security_curve"]
