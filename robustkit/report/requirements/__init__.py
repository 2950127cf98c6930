"""Figures by name, and the requirements they are held against."""
