"""The document as HTML, Markdown, notebook card and tables."""
