"""One module of assets per subject, named as in domain."""
