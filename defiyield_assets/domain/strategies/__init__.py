"""Strategies: the language they are written in, the one engine that runs them, and what a run amounts to."""
