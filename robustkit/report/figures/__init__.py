"""The figures of the report, drawn as SVG."""
