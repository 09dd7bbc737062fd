"""Checks of prices: what two vendors say of one token and day. Doubts, not blocks: the curated bar is one vendor's."""

import dagster as dg

from defiyield_assets.domain.prices.curation import AGREEMENT, price_disagreements
from defiyield_assets.orchestration.assets.prices import told_prices
from defiyield_assets.orchestration.partitions import DAILY, day_range
from defiyield_assets.orchestration.reporting import preview
from defiyield_assets.orchestration.resources import WarehouseResource

SHOWN = 20


@dg.asset_check(
    asset="daily_bars",
    additional_deps=["ohlcv_coinmarketcap", "ohlcv_coingecko", "closes_defillama"],
    partitions_def=DAILY,
)
def price_sources_agree(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> dg.AssetCheckResult:
    """Any two of CoinMarketCap, CoinGecko and DeFiLlama that tell a close of a token and day differ by at most 1 %."""
    days = day_range(context)
    apart, n_pairs = price_disagreements(told_prices(warehouse, days), days)
    symbols = {token.instrument_id: token.symbol for token in warehouse.policy(days.end).tokens}
    listed = apart.assign(symbol=apart["instrument_id"].map(symbols))
    return dg.AssetCheckResult(
        passed=apart.empty,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(apart)} of {n_pairs} pairs of closes differ by more than {AGREEMENT:.0%}"
        if n_pairs
        else "no token has two prices: nothing was compared",
        metadata={"pairs": n_pairs, "apart": len(apart), "tolerance": AGREEMENT, "listed": preview(listed, SHOWN)},
    )
