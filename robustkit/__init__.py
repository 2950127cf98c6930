"""robustkit: wrap any torch classifier, attack it, defend it, and hand out a report a stranger can check."""

from robustkit.classifier import Classifier
from robustkit.evaluation import Evaluation
from robustkit.evaluator import evaluate
from robustkit.threat import Threat

__version__ = "0.1.0"
__all__ = ["Classifier", "Evaluation", "Threat", "evaluate"]
