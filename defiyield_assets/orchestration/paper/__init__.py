"""Paper trading: which portfolios there are, what they read, their stored books, and when they are traded."""
