"""The demo day, seen through the product's own rules: what passes the pre-filter, what sits in the icebox."""

from collections import Counter
from datetime import timedelta

import pandas as pd
import pytest

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.days import market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.domain.pools.snapshot import build_pools
from defiyield_assets.domain.prices.curation import BAR_COLUMNS
from defiyield_assets.domain.selection.icebox import bootstrap_icebox
from defiyield_assets.domain.selection.prefilter import prefilter_pools
from defiyield_assets.domain.selection.registry import build_token_registry
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.market import Market, investable_wallet
from defiyield_assets.simulator.recorded import RecordedMarket
from defiyield_assets.sources.defillama_yields import parse_lend_borrow, parse_pools
from defiyield_assets_tests.simulator.asking import answer


def bars_of(market: Market, policy: Policy) -> pd.DataFrame:
    """`daily_bars` of the 40 days up to the demo day: CoinMarketCap's bar where there is one, else the close."""
    rows: dict[tuple[str, object], dict[str, object]] = {}
    for token in policy.tokens:
        series = market.close_series(token.address, DEMO_DAY)
        if series is None:
            continue
        for back in range(40):
            day = DEMO_DAY - timedelta(days=back)
            rows[token.instrument_id, day] = {"close": float(series.close[-1 - back]), "quality": "close_only"}
        coin = market.coin(token.cmc_id, DEMO_DAY - timedelta(days=39), DEMO_DAY) if token.cmc_id is not None else None
        for bar in coin.bars if coin is not None else ():
            prices = {"open": bar.open, "high": bar.high, "low": bar.low, "close": bar.close}
            rows[token.instrument_id, bar.day] = {**prices, "market_cap_usd": bar.market_cap, "quality": "full"}
    named = [{"instrument_id": key[0], "date": key[1], **row} for key, row in rows.items()]
    return pd.DataFrame(named, columns=list(BAR_COLUMNS))


def prefiltered(market: Market, policy: Policy) -> pd.DataFrame:
    """The pre-filter's verdict on the demo day's pools."""
    pools = build_pools(
        parse_pools(answer(market, DEMO_DAY, "https://yields.llama.fi/pools")),
        parse_lend_borrow(answer(market, DEMO_DAY, "https://yields.llama.fi/lendBorrow")),
        DEMO_DAY,
        market_stamp(DEMO_DAY),
    )
    registry = build_token_registry(pools, policy, DEMO_DAY)
    return prefilter_pools(pools, registry, bars_of(market, policy), policy, DEMO_DAY)


def test_the_generated_demo_day_passes_enough_and_shows_every_reason(generated: GeneratedMarket) -> None:
    policy = load_policy(DEMO_DAY, extra_overrides=generated.pool_overrides()).policy
    verdicts = prefiltered(generated, policy)
    passed = verdicts[verdicts["is_passed"]]
    assert len(passed) >= 60
    assert (passed["underlying_symbols"].str.count(r"\+") >= 1).sum() >= 5
    codes = Counter(code for text in verdicts["reason_codes"] for code in text.split(",") if code)
    shown = {
        *("PROTOCOL_NOT_APPROVED", "CHAIN_NOT_ALLOWED", "NOT_A_DOLLAR_POOL", "EXIT_TOO_SLOW", "MATURES_WITHIN_HORIZON"),
        *("TOO_SMALL", "NO_UNDERLYING"),
    }
    assert shown <= codes.keys()
    held = verdicts[verdicts["pool_id"].isin({key[1] for key in generated.chain.positions(DEMO_DAY)})]
    assert len(held) == 6
    assert held.loc[~held["is_passed"], "reason_codes"].tolist() == ["PROTOCOL_NOT_APPROVED"]


def test_the_fallen_token_is_in_the_icebox_of_the_demo_day(generated: GeneratedMarket, policy: Policy) -> None:
    _, icebox = bootstrap_icebox(bars_of(generated, policy), policy, DEMO_DAY)
    assert icebox["symbol"].tolist() == ["USD0"]


@pytest.mark.recorded
def test_the_recorded_day_passes_enough(recorded: RecordedMarket) -> None:
    policy = load_policy(DEMO_DAY, extra_overrides=recorded.pool_overrides()).policy
    verdicts = prefiltered(recorded, policy)
    assert verdicts["is_passed"].sum() >= 40
    roles = set(verdicts.loc[verdicts["is_passed"], "role"])
    assert roles <= {"lend", "vault", "staking"}, "no collateral, no principal tokens"


def test_the_investable_wallet_is_the_one_that_holds_positions(generated: GeneratedMarket, policy: Policy) -> None:
    holders = {wallet for wallet, _, _ in generated.chain.positions(DEMO_DAY)}
    assert holders == {investable_wallet(policy.wallets).address}
