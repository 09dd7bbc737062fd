"""Forecasts of APY, size and gas, and their scores."""
