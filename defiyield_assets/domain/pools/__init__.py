"""Pools: snapshots, histories, quality, metrics, groups."""
