"""Backups: an installation's databases and files in one archive, and back in their places.

Lives here: all that knows how. Not here: which databases and folders an installation has (cli/backup.py).
"""
