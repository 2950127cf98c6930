"""What everything stands on: errors, writing files, several processes."""
