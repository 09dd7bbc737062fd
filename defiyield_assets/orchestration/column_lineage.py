"""Of which columns of which assets a column is made, where that is exact: the UI draws it.

Lives here: the columns of tables whose every listed column follows from the named ones and nothing else that is stored.
Not here: which asset rests on which (assets/), tables whose figures a model or an optimiser makes of all that it reads:
a list of everything would tell nobody anything.
"""

from collections.abc import Mapping
from functools import cache

import dagster as dg

from defiyield_assets.domain.pools.groups import LIMITS

Sources = tuple[tuple[str, str], ...]


def _of(asset: str, **columns: str) -> dict[str, Sources]:
    """Columns that are made of one asset's: each with the names of its sources, separated by spaces."""
    return {name: tuple((asset, source) for source in sources.split()) for name, sources in columns.items()}


def _same(asset: str, *names: str) -> dict[str, Sources]:
    """Columns that are handed on."""
    return {name: ((asset, name),) for name in names}


LEVEL = "mean_gwei median_gwei"
"""An hour counts with its mean, or with its median where only that is known."""
RATED = " ".join([*LIMITS, "observed_days"])

FROZEN: Sources = tuple(("icebox", name) for name in ("chain", "address", "symbol", "reason_codes", "reason"))

LINEAGE: Mapping[str, Mapping[str, Sources]] = {
    "gas_fees_daily": {
        **_same("gas_fees_hourly", "date", "kind", "source", "eth_price_usd"),
        **_of("gas_fees_hourly", mean_gwei=LEVEL, median_gwei=LEVEL, p10_gwei=LEVEL, p90_gwei=LEVEL, n_hours=LEVEL),
        **_of("gas_fees_hourly", max_gwei=f"max_gwei {LEVEL}"),
    },
    "gas_hour_profiles": {
        **_same("gas_fees_hourly", "kind"),
        **_of("gas_fees_hourly", hour="hour", ratio=LEVEL, p10=LEVEL, p90=LEVEL, n_days=LEVEL, rank=LEVEL),
        **_of("gas_fees_hourly", p_value=LEVEL, saving=LEVEL, is_cheapest=LEVEL),
    },
    "history_revisions": {
        **_same("pool_histories", "pool_id", "revision", "apy", "tvl_usd", "source", "seen_at"),
        **_of("pool_histories", date="seen_at", age_days="seen_at date"),
        **_of("pool_histories", point_date="date", apy_before="apy", apy_change="apy", tvl_before_usd="tvl_usd"),
    },
    "pool_groups": {
        **_same("pool_metrics", "date", "pool_id", "is_hindsight"),
        **_of("pool_metrics", pool_group=RATED, reason=RATED),
    },
    "forecast_score_sums": {
        **_same("forecast_scores", "date", "target", "horizon_days", "absolute_error", "naive_absolute_error", "error"),
        **_same("forecast_scores", "pinball_loss", "mase_scale"),
        **_of("forecast_scores", n_forecasts="model is_champion pool_id"),
        **_of("forecast_scores", model="model is_champion", n_bands="has_band", n_covered="has_band is_covered"),
        **_of("forecast_scores", scaled_error="absolute_error mase_scale"),
    },
    "forecast_scoreboard": {
        **_same("forecast_score_sums", "target", "horizon_days", "model", "n_forecasts", "n_bands"),
        **_of("forecast_score_sums", n_pools="n_forecasts", mae="absolute_error n_forecasts"),
        **_of("forecast_score_sums", mae_last_value="naive_absolute_error n_forecasts", bias="error n_forecasts"),
        **_of("forecast_score_sums", skill="absolute_error naive_absolute_error", mase="scaled_error mase_scale"),
        **_of("forecast_score_sums", skill_30d="absolute_error naive_absolute_error", coverage="n_covered n_bands"),
        **_of("forecast_score_sums", pinball_loss="pinball_loss n_forecasts"),
    },
    "allocation_snapshot": {
        **_same("policy_snapshot", "date", "policy_hash"),
        **_of("policy_snapshot", parameters_json="policy_json"),
        "allowed_tokens_json": (("policy_snapshot", "policy_json"), ("icebox", "chain"), ("icebox", "address")),
        "barred_tokens_json": (("policy_snapshot", "policy_json"), *FROZEN),
        "allocation_hash": (("policy_snapshot", "policy_json"), ("policy_snapshot", "policy_hash"), *FROZEN),
    },
    "token_registry": {
        "instrument_id": (
            ("pools", "chain"),
            ("pools", "underlying_addresses_json"),
            ("policy_snapshot", "policy_json"),
        ),
        **_of("policy_snapshot", verdict="policy_json"),
        "chain": (("pools", "chain"), ("policy_snapshot", "policy_json")),
        "address": (("pools", "underlying_addresses_json"), ("policy_snapshot", "policy_json")),
        **_of("pools", n_pools="underlying_addresses_json"),
        **_of("policy_snapshot", symbol="policy_json", decimals="policy_json", issuer="policy_json"),
        **_of("policy_snapshot", peg="policy_json", is_rebasing="policy_json", access="policy_json"),
        **_of("policy_snapshot", exit_days="policy_json", coingecko_id="policy_json", cmc_id="policy_json"),
    },
}
"""Table -> column -> (asset, column) of each source. Which rows there are (days, filters, aliases) is not told here."""


@cache
def lineage_of(table: str) -> dg.TableColumnLineage | None:
    """The lineage of a table's columns for the UI; None where none is exact."""
    columns = LINEAGE.get(table)
    if columns is None:
        return None
    return dg.TableColumnLineage(
        {
            name: [dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=source) for asset, source in sources]
            for name, sources in columns.items()
        }
    )
