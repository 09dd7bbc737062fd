"""Tests of the language, the engine and the results of strategies."""
