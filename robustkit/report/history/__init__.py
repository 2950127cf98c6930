"""The audits in a folder, over time."""
