"""Strategy lab: what scenarios and backtests are made from, how they are run, drawn and followed up."""
