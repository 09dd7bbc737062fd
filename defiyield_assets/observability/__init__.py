"""What the product tells of itself to whoever watches it: figures for Prometheus, lines of logs. Decides nothing."""
