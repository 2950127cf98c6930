"""What everything stands on: errors, writing files, several processes."""

from robustkit.base.errors import ConfigurationError, InvalidEvaluation, RobustkitError

__all__ = ["ConfigurationError", "InvalidEvaluation", "RobustkitError"]
