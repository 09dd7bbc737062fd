"""Which pools may be used, and why not."""
