"""Pure functions: norms, projection, losses, random numbers, intervals, calibration."""
