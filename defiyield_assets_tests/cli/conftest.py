"""Fixtures of the command line's tests: an installation with rows."""

from defiyield_assets_tests.cli.kept import kept, made, on_file

__all__ = ["kept", "made", "on_file"]
