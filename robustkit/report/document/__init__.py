"""The document: plain data, its JSON, and what it says of model and machine."""
