"""What a page says and shows, apart from how the tools that drew it lay out white space and escapes."""

from __future__ import annotations

from html.parser import HTMLParser

Words = list[tuple[str, str]]


def said(name: str, page: bytes) -> Words:
    """Returns every tag, attribute, style and word of a page in their order; a Markdown page has words alone.

    Args:
        name: Of its file.
        page: As it was written.
    """
    text = page.decode(errors="replace")
    if not name.endswith(".html"):
        return [("text", word) for word in text.split()]
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader.found


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Words = []

    def _enter(self, kind: str, text: str) -> None:
        self.found += [(kind, word) for word in text.split()]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(("tag", tag))
        for name, value in sorted(attrs, key=str):
            self._enter(f"attribute {name}", value or "none")

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("end", tag))

    def handle_data(self, data: str) -> None:
        self._enter("text", data)

    def handle_comment(self, data: str) -> None:
        self._enter("comment", data)  # what this parser takes for one, another may show

    def handle_decl(self, decl: str) -> None:
        self._enter("declaration", decl.casefold())

    def unknown_decl(self, data: str) -> None:
        self._enter("declaration", data)

    def handle_pi(self, data: str) -> None:
        self._enter("instruction", data)
