"""Tests of deploy/: files that are read as their programs read them, and what they start, started."""
