"""Tests of paper trading: the exchange, days of portfolios, equality with backtests."""
