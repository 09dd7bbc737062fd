"""What may be asked of the strategy lab: bounds and the seed where none is given, the same for commands and assets.

Lives here: numbers alone, because the command line reads them before anything heavy is imported. Not here: what is made
(orchestration/assets).
"""

DEFAULT_SEED = 7
"""Seed of a set of scenarios where nobody says another."""
MOST_SEED = 90_000_000_000
MOST_DRAWN = 100_000
"""Random windows of each length, and stochastic paths of each type."""
MOST_PROCESSES = 64
