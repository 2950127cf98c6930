"""Two audits, sample by sample."""
