"""Plots on matplotlib, each one an `Axes`; `evaluation.plot()` makes the usual six in one figure.

Without an `ax` a plot comes in a figure of its own, which needs no window and no pyplot:
`plots.per_class(evaluation).figure.savefig("classes.png")`. With one, as from `plt.subplots()`, it is drawn there.
Nothing global is changed: sizes and fonts are those of your rcParams. Bars and bands are 95 % Wilson intervals, and
all numbers those of the report. The colours stay apart in every kind of colour vision.
"""

from __future__ import annotations

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
