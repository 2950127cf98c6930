"""What every page carries with it: its style, its script, and the policy that lets nothing else in."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from markupsafe import Markup

_FOLDER = Path(__file__).parents[1] / "templates"


def _read(*names: str) -> Markup:
    # Written by us, so that nothing in it needs an escape.
    return Markup("\n" + "".join((_FOLDER / name).read_text(encoding="ascii") for name in names))


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


STYLE = _read("style.css", "print.css")
SCRIPT = _read("page.js")
# An attribute may say how wide a bar is; no other style, and no other script, is let in.
POLICY = (
    f"default-src 'none'; img-src data:; script-src {_hash(SCRIPT)}; style-src-elem {_hash(STYLE)}; "
    "style-src-attr 'unsafe-inline'; base-uri 'none'; form-action 'none'"
)
