"""The numbers behind every figure as CSV, carried in the page itself."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence

from markupsafe import Markup, escape

from robustkit.base.csv_table import Cell, write_csv
from robustkit.maths.intervals import Proportion
from robustkit.report.document.report import Audit
from robustkit.report.text import sentences
from robustkit.report.text.attack_rows import attack_rows
from robustkit.report.text.words import visible

_SHARE = ("k", "n", "share", "low", "high")
_BOTH = tuple(f"{which} {name}" for which in ("clean_accuracy", "robust_accuracy") for name in _SHARE)


def tables(audit: Audit) -> dict[str, str]:
    """Returns CSV text by the name of the figure it stands behind, for the figures this audit has."""
    found = {
        "accuracy": _csv(
            ("attack", *_SHARE),
            [
                ("no attack", *_share(audit.clean)),
                *((row.accuracy_name, *_share(row.result.accuracy)) for row in attack_rows(audit)),
                ("worst case", *_share(audit.worst_case.accuracy)),
            ],
        ),
        "classes": _csv(
            ("class", *_BOTH),
            ((row.name, *_share(row.clean), *_share(row.robust)) for row in sentences.ranked(audit)),
        ),
        "convergence": _csv(
            ("attack", "step", "loss"),
            ((row.name, *point) for row in attack_rows(audit) for point in _moves(row.result.loss_path)),
        ),
        "reliability": _csv(
            ("inputs", "above", "up to", "mean confidence", *_SHARE),
            (
                (side, bin.low, bin.high, bin.confidence, *(_share(bin.accuracy) if bin.accuracy else (0, 0)))
                for side, one in (("clean", audit.calibration.clean), ("attacked", audit.calibration.attacked))
                for bin in one.reliability
            ),
        ),
    }
    if audit.curve:
        points = [("0", 0.0, *_share(audit.clean))]
        points += [(point.eps, point.eps_value, *_share(point.accuracy)) for point in audit.curve.points]
        found["curve"] = _csv((f"eps ({audit.curve.norm})", "value", *_SHARE), points)
    if audit.confusion and audit.confusion.clean and audit.confusion.attacked:
        names, pair = audit.subject.class_names, zip(audit.confusion.clean, audit.confusion.attacked, strict=True)
        found["confusion"] = _csv(
            ("class", "answer", "clean", "under attack"),
            (
                (names[i], names[j], before, after)
                for i, rows in enumerate(pair)
                for j, (before, after) in enumerate(zip(*rows, strict=True))
            ),
        )
    elif audit.confusion:
        pairs = ((pair.label, pair.answer, pair.clean, pair.attacked) for pair in audit.confusion.pairs)
        found["confusion"] = _csv(("class", "answer", "clean", "under attack"), pairs)
    if audit.margins:
        edges = audit.margins.edges
        found["margins"] = _csv(("from", "to", "samples"), zip(edges, edges[1:], audit.margins.counts, strict=False))
    if risk := audit.risk_coverage:
        columns = zip(risk.coverage, risk.clean, risk.attacked, strict=True)
        found["risk"] = _csv(("share answered", "wrong, clean", "wrong, under attack"), columns)
    if audit.slices:
        found["slices"] = _csv(
            ("column", "value", *_BOTH, "p", "p adjusted"),
            (
                (row.column, row.value, *_share(row.clean), *_share(row.robust), row.p_value, row.p_holm)
                for row in sentences.ranked_slices(audit)
            ),
        )
    if group := audit.ensemble:
        rows: Iterable[Sequence[Cell]] = ((name, *row) for name, row in zip(group.members, group.transfer, strict=True))
        found["transfer"] = _csv(("made on", *(f"breaks {name}" for name in group.members)), rows)
    return found


def link(name: str, text: str) -> Markup:
    """Returns a link that saves the table; it needs neither network nor scripts."""
    data = base64.b64encode(text.encode()).decode()
    return Markup(
        f'<a class="csv" download="{escape(name)}.csv" href="data:text/csv;charset=utf-8;base64,{data}">'
        f'Data<span class="for"> of this figure</span> (CSV)</a>'
    )


def _moves(path: Sequence[float]) -> list[tuple[int, float]]:
    """Returns step and loss where the path moved, and its ends: thousands of steps are mostly flat."""
    last = len(path) - 1
    return [(i, loss) for i, loss in enumerate(path) if i in (0, last) or loss != path[i - 1]]


def _share(value: Proportion) -> Sequence[Cell]:
    return (value.k, value.n, value.value, *value.wilson)


def _csv(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    shown = ([visible(cell) if isinstance(cell, str) else cell for cell in row] for row in rows)
    return write_csv([visible(name) for name in header], shown)
