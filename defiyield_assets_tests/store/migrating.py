"""What a process does that finds an empty database.

Lives here: one function for child processes, in a module that imports little, because each child imports it anew.
"""

from defiyield_assets.store import engine as engines


def upgrade_and_close(url: str) -> str:
    """Upgrade the database as the program does when it starts, and return the revision."""
    engine = engines.make_engine(url)
    try:
        return engines.upgrade(engine)
    finally:
        engine.dispose()
