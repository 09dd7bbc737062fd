"""What breaks, and what must be left standing."""
