"""Features: one registry of metrics over panels of bars, the same to the bit in one batch and day by day."""
