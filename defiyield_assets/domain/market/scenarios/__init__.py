"""Scenarios: stretches of market, real or generated, on which strategies are tried. Strategies: domain/strategies."""
