"""Signals through Dagster over a small warehouse."""
