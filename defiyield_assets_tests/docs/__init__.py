"""Tests of the documentation: it builds, its links lead somewhere, and what it tells to type works."""
