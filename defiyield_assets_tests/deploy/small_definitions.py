"""The whole graph over the small market, as a module that a code server loads.

Not here: the market (small_market.py) or what is asserted about its runs (test_compose_day.py).
"""

from defiyield_assets.definitions import build_defs
from defiyield_assets.settings import load_settings
from defiyield_assets_tests.small_market import SmallMarketResource

settings = load_settings()
defs = build_defs(
    settings,
    market=SmallMarketResource(market="simulated", chain_path=str(settings.chain_path), seed=settings.market_seed),
)
