"""One module of asset checks per subject, named as in domain."""
