"""Policy and lists as YAML, and the loader that checks them."""
