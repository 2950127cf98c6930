"""The document for other programs: JUnit, SARIF, CSV, model cards."""
