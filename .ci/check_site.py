"""`python .ci/check_site.py FOLDER` checks a built site: no page asks the network, every public name is described."""

from __future__ import annotations

import re
import sys
from pathlib import Path

REQUEST = re.compile(r'<(?:script|img|iframe|source|link)\b[^>]*\b(?:src="?|stylesheet"? href="?)(?:https?:)?//')
ENTRY = re.compile(r"^::: (\S+)$", re.MULTILINE)
DESCRIBED = re.compile(r'class="doc doc-contents[^"]*">\s*<p>')


def faults(site: Path, docs: Path) -> list[str]:
    """Returns what is wrong with the site made of the pages in `docs`, a line each."""
    found = [f"{page}: asks the network" for page in site.rglob("*.html") if REQUEST.search(page.read_text())]
    for source in sorted((docs / "api").glob("*.md")):
        page = (site / "api" / f"{source.stem}.html").read_text()
        for name in ENTRY.findall(source.read_text()):
            entry = page.partition(f'id="{name}" class="doc doc-heading"')[2].partition('<div class="doc doc-object')[0]
            constant = name.rpartition(".")[2].isupper() and "doc-symbol-attribute" in entry
            if not constant and not DESCRIBED.search(entry):
                found.append(f"{source.name}: {name} has no description")
    return found


if __name__ == "__main__":
    sys.exit("\n".join(faults(Path(sys.argv[1]), Path(__file__).resolve().parent.parent / "docs")) or None)
