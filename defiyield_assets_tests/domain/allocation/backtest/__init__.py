"""Tests of the policy backtest."""
