"""What is looked at before an attack: the doctor and its diagnostics."""
