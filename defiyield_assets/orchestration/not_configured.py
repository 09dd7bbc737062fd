"""The result of a source that an installation has no key for.

Lives here: what such an asset writes (nothing) and says. Not here: which keys there are (settings.py).
"""

import dagster as dg
import pandas as pd
from sqlalchemy import Table

from defiyield_assets.domain.outcomes import NOT_CONFIGURED
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource
from defiyield_assets.store import writes


def without_key(
    warehouse: WarehouseResource, market: MarketResource, table: Table, vendor: str, instead: str
) -> dg.MaterializeResult:
    """The result of a source that is not configured: nothing written, what its key would add, what stands in."""
    receipt = writes.insert_missing(
        warehouse.engine, table, pd.DataFrame(columns=[column.name for column in table.columns])
    )
    reason = f"{market.why_not_asked(vendor)}; {instead}"
    return report(receipt, degraded=reason, degraded_by=NOT_CONFIGURED)
