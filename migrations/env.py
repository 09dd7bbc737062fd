"""Alembic's entry: compares or migrates the warehouse over the connection that store/engine.py hands in.

Lives here: the settings of a migration run. Not here: revisions (versions/), tables (defiyield_assets/store/schema).
"""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from alembic.operations.ops import CreateTableOp, MigrationScript
from alembic.runtime.migration import MigrationContext

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store.engine import VERSION_TABLE
from defiyield_assets.store.schema import metadata


def render_item(kind: str, item: Any, autogen_context: AutogenContext) -> str | Literal[False]:
    """Write our own column types by their short name and import them once."""
    if kind == "type" and type(item).__module__ == "defiyield_assets.store.types":
        autogen_context.imports.add(f"from defiyield_assets.store.types import {type(item).__name__}")
        return f"{type(item).__name__}()"
    return False


def leave_out_info(_context: MigrationContext, _revision: Any, directives: list[MigrationScript]) -> None:
    """A revision states what the database holds; bounds and partition columns (`info`) are rules of this program."""
    for script in directives:
        for operation in script.upgrade_ops.ops if script.upgrade_ops else ():
            if isinstance(operation, CreateTableOp):
                operation.info = {}


def migrate() -> None:
    """Run the migrations inside the caller's transaction, so that they happen wholly or not at all."""
    connection = context.config.attributes.get("connection")
    if connection is None:
        raise ConfigurationError("migrations run through defiyield_assets.store.engine.upgrade, which holds the lock")
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
        compare_type=True,
        render_item=render_item,
        process_revision_directives=leave_out_info,
        include_name=lambda name, kind, parents: kind != "table" or name in metadata.tables,
    )
    with context.begin_transaction():
        context.run_migrations()


migrate()
