"""Rows of the console's audit log, for tests of whoever writes them."""

from typing import Any

import sqlalchemy as sa

from defiyield_assets.store import schema


def deeds(engine: sa.Engine) -> list[dict[str, Any]]:
    """All rows by column name, the newest first."""
    table = schema.console_audit
    with engine.connect() as connection:
        query = sa.select(table).order_by(table.c.at.desc(), table.c.audit_id)
        return [dict(row) for row in connection.execute(query).mappings()]
