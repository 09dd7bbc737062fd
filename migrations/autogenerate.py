"""Writes the next revision from the tables: `python -m migrations.autogenerate <id> <words>`, then `ruff format` it.

Lives here: the command for whoever changed store/schema. Not here: running revisions (store/engine.py).
"""

import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa
from alembic import command

from defiyield_assets.store.engine import MIGRATIONS, alembic_config, make_engine


def write_revision(revision: str, message: str) -> Path:
    """Compare the tables with an empty SQLite database migrated to the newest revision and write what is missing.

    `revision` is the next number, such as 0002; returns the new file, named <revision>_<message>.py.
    """
    with tempfile.TemporaryDirectory() as folder:
        engine = make_engine(sa.URL.create("sqlite", database=str(Path(folder) / "empty.db")).render_as_string())
        with engine.connect() as connection:
            config = alembic_config(connection)
            command.upgrade(config, "head")
            command.revision(config, message, autogenerate=True, rev_id=revision)
        engine.dispose()
    return tidy(next((MIGRATIONS / "versions").glob(f"{revision}_*.py")))


def tidy(written: Path) -> Path:
    """Drop what alembic writes for its own sake: banners, and `autoincrement=False`, which a composite key implies."""
    lines = [line for line in written.read_text().splitlines() if "# ### " not in line]
    written.write_text("\n".join(lines).replace(" autoincrement=False,", "") + "\n")
    return written


if __name__ == "__main__":
    write_revision(sys.argv[1], " ".join(sys.argv[2:]))
