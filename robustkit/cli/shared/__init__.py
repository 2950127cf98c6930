"""What commands share: options, loading, the screen."""
