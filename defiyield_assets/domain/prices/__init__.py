"""Prices: instruments and curated daily bars."""
