"""What commands share: options, loading, the terminal."""
