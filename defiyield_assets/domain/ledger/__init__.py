"""Double entry over chain transfers."""
