"""Paper trading: a simulated exchange, and portfolios that trade by the shared engine day by day."""
