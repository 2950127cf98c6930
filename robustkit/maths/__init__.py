"""Pure functions: norms and projections, losses, random numbers, intervals, calibration."""
