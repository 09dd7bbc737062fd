"""Limits of paper portfolios that the command line refuses beyond.

Lives here: numbers alone, because the command line reads them before anything heavy is imported. Not here: portfolios
(portfolios.py) or the file that names them (config/paper.py).
"""

LEAST_CAPITAL, MOST_CAPITAL = 0.01, 1e12
"""Currency."""
