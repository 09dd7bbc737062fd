"""Gas: hourly and daily fees."""
