"""The generated market is deterministic and its demo day shows what a demo should show."""

import hashlib
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.domain.policy import Policy
from defiyield_assets.simulator.chain import PlanRejected
from defiyield_assets.simulator.chain_records import NATIVE
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets.simulator.generated_genesis import cold_wallet
from defiyield_assets.simulator.market import investable_wallet, token_named
from defiyield_assets_tests.simulator.asking import answer, etherscan, plan, respond
from defiyield_assets_tests.simulator.test_chain import replayed

POOLS = "https://yields.llama.fi/pools"
_DIGEST_SCRIPT = """
import hashlib, pathlib, sys
from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.simulator.generated import DEMO_DAY, GeneratedMarket
from defiyield_assets_tests.simulator.test_generated import digest
policy = load_policy(DEMO_DAY).policy
lists, universe = (policy.wallets, policy.tokens, policy.protocols), load_instruments().instruments
market = GeneratedMarket(7, pathlib.Path(sys.argv[1]), *lists, instruments=universe)
sys.stdout.write(digest(market))
"""


def digest(market: GeneratedMarket) -> str:
    """Hash of a day's answers."""
    wallet = investable_wallet(market._wallets).address
    urls = (POOLS, "https://yields.llama.fi/lendBorrow", "https://www.ethgastracker.com/api/gas/average")
    parts = [respond(market, DEMO_DAY, url).content for url in urls]
    shares = {"function": "TIME_SERIES_DAILY_ADJUSTED", "symbol": "AAPL"}
    parts.append(respond(market, DEMO_DAY, "https://www.alphavantage.co/query", **shares).content)
    coins = {"ids": "bitcoin,ethereum,usd-coin"}
    parts.append(respond(market, DEMO_DAY, "https://api.coingecko.com/api/v3/coins/markets", **coins).content)
    parts.append(str(etherscan(market, DEMO_DAY, "tokentx", wallet)).encode())
    parts.append(str(market.chain.positions(DEMO_DAY)).encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_the_same_seed_says_the_same_in_another_process(generated: GeneratedMarket, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _DIGEST_SCRIPT, str(tmp_path / "chain.sqlite")]
    result = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "12345", "PATH": ""}, cwd=Path.cwd()
    )
    assert result.stdout == digest(generated)


def test_another_seed_says_something_else(generated: GeneratedMarket, policy: Policy, tmp_path: Path) -> None:
    lists = (policy.wallets, policy.tokens, policy.protocols)
    other = GeneratedMarket(8, tmp_path / "chain.sqlite", *lists, instruments=generated.instruments)
    assert digest(other) != digest(generated)
    assert population(other, policy)["usable"] >= 60


def population(market: GeneratedMarket, policy: Policy) -> dict[str, int]:
    """How many pools of the demo day there are of each kind, by the plain facts that the vendors tell."""
    rows = answer(market, DEMO_DAY, POOLS)["data"]
    supply = {
        leg["pool"]: leg["totalSupplyUsd"] for leg in answer(market, DEMO_DAY, "https://yields.llama.fi/lendBorrow")
    }
    overrides = {override.pool_id: override for override in market.pool_overrides()}
    tokens = {token.address for token in policy.tokens if token.access == "open" and token.exit_days <= 7}
    usable = []
    for row in rows:
        override = overrides.get(row["pool"])
        underlyings = [address.lower() for address in row["underlyingTokens"] or ()]
        if row["chain"] != "Ethereum" or row["project"] not in policy.protocols or override is None or not underlyings:
            continue
        is_plain = override.maturity is None and override.access is None and override.exit_days is None
        is_dollar = override.role in ("lend", "vault", "staking", "liquidity")
        is_fresh = row["timestamp"][:10] == DEMO_DAY.isoformat()
        size = supply.get(row["pool"], row["tvlUsd"])
        if (
            is_plain
            and is_dollar
            and is_fresh
            and set(underlyings) <= tokens
            and size >= 500_000
            and row["count"] >= 30
        ):
            usable.append(row)
    return {
        "pools": len(rows),
        "usable": len(usable),
        "usable with several tokens": sum(len(row["underlyingTokens"]) > 1 for row in usable),
        "stale": sum(row["timestamp"][:10] != DEMO_DAY.isoformat() for row in rows),
        "chains": len({row["chain"] for row in rows}),
        "old": sum(row["count"] >= 400 for row in usable),
    }


def test_the_population_of_the_demo_day(generated: GeneratedMarket, policy: Policy) -> None:
    facts = population(generated, policy)
    assert facts["pools"] >= 2_000
    assert facts["usable"] >= 60
    assert facts["usable with several tokens"] >= 5
    assert facts["stale"] >= 5
    assert facts["chains"] >= 5
    assert facts["old"] >= 40


def test_apys_are_heavy_tailed_with_spikes_programmes_and_deaths(generated: GeneratedMarket) -> None:
    rows = answer(generated, DEMO_DAY, POOLS)["data"]
    apys = np.array([row["apy"] for row in rows])
    assert 1 < np.median(apys) < 20
    assert np.quantile(apys, 0.99) > 20 * np.median(apys)
    assert (apys == 0).sum() >= 5, "dying pools"
    assert sum(row["apyReward"] is not None and row["rewardTokens"] is not None for row in rows) >= 100
    after = {row["pool"]: row["symbol"] for row in rows}
    before = {row["pool"]: row["symbol"] for row in answer(generated, DEMO_DAY - timedelta(days=30), POOLS)["data"]}
    assert sum(before[pool] != after[pool] for pool in before.keys() & after.keys()) >= 5, "renamed symbols"
    assert before.keys() - after.keys(), "some pools are gone"
    assert after.keys() - before.keys(), "some are new"
    aave = next(
        row["pool"] for row in rows if (row["chain"], row["project"], row["symbol"]) == ("Ethereum", "aave-v3", "USDT")
    )
    points = answer(generated, DEMO_DAY, f"https://yields.llama.fi/chart/{aave}")["data"]
    assert len(points) >= 400
    levels = np.log([point["apy"] for point in points])
    assert np.corrcoef(levels[1:], levels[:-1])[0, 1] > 0.8, "today's APY resembles yesterday's"


def test_one_token_loses_its_peg_around_the_demo_day_and_recovers(generated: GeneratedMarket, policy: Policy) -> None:
    token = token_named(policy.tokens, "USD0")

    def closes(symbol: str, day: date) -> pd.Series:
        series = generated.close_series(token_named(policy.tokens, symbol).address, day)
        assert series is not None
        days = [series.first_day + timedelta(days=i) for i in range(len(series.close))]
        return pd.Series(series.close, index=days)

    falling = closes("USD0", DEMO_DAY)
    assert falling[DEMO_DAY - timedelta(days=6)] > 0.995
    assert falling[DEMO_DAY - timedelta(days=2)] < 0.98
    assert 0.92 < falling[DEMO_DAY] < 0.94
    later = closes("USD0", DEMO_DAY + timedelta(days=30))
    assert (later.loc[DEMO_DAY + timedelta(days=11) :] > 0.99).all()
    assert any(token.address in (row["underlyingTokens"] or [""])[0].lower() for row in generated.pool_rows(DEMO_DAY))
    for symbol in ("USDC", "USDT", "DAI"):
        assert (closes(symbol, DEMO_DAY).iloc[-40:] - 1).abs().max() < 0.005
    growth = closes("sUSDS", DEMO_DAY)
    assert 1.03 < growth.iloc[-1] / growth.iloc[-366] < 1.09


def test_some_market_caps_are_below_the_minimum(generated: GeneratedMarket, policy: Policy) -> None:
    ids = [token.cmc_id for token in policy.tokens if token.cmc_id is not None]
    coins = [generated.coin(cmc_id, DEMO_DAY, DEMO_DAY) for cmc_id in ids]
    caps = [coin.bars[0].market_cap for coin in coins if coin is not None]
    assert len(caps) == len(ids)
    assert 1 <= sum(cap < policy.parameters.token_market_cap_min_usd for cap in caps) < len(caps)


def test_gas_has_a_daily_and_a_weekly_shape(generated: GeneratedMarket) -> None:
    frames = []
    for back in range(0, 364, 7):
        day = DEMO_DAY - timedelta(days=back)
        rows = answer(generated, day, "https://www.ethgastracker.com/api/gas/average")["data"]["data"][1:]
        frames.append(pd.DataFrame(rows))
    hours = pd.concat(frames)
    stamps = pd.to_datetime(hours["period"])
    by_hour = hours["baseFee"].groupby(stamps.dt.hour).mean()
    assert by_hour[15] > 1.3 * by_hour[3]
    weekend = hours["baseFee"].groupby(stamps.dt.weekday >= 5).mean()
    assert weekend[False] > 1.1 * weekend[True]
    daily = hours["baseFee"].groupby(stamps.dt.date).mean()
    assert daily.max() > 4 * daily.min(), "regimes"


def test_the_treasury_of_the_demo_day(generated: GeneratedMarket, policy: Policy) -> None:
    warm, cold = investable_wallet(policy.wallets).address, cold_wallet(policy.wallets).address
    stamp = market_stamp(DEMO_DAY)
    positions = generated.chain.positions(DEMO_DAY)
    assert len({(wallet, pool) for wallet, pool, _ in positions}) >= 5
    assert {wallet for wallet, _, _ in positions} == {warm}
    rows = {row["pool"]: row for row in answer(generated, DEMO_DAY, POOLS)["data"]}
    held = {rows[pool]["pool"]: rows[pool] for _, pool, _ in positions}
    assert sum(row["project"] not in policy.protocols for row in held.values()) == 1, "must_exit"
    low = [row for row in held.values() if row["apy"] / 100 < policy.parameters.pool_apy_min]
    assert [row["project"] for row in low] == ["aave-v2"], "exit_only"
    assert any(len(row["underlyingTokens"]) == 2 for row in held.values())
    tokens = {token.address: token for token in policy.tokens}
    invested = sum(amount / 10 ** tokens[token].decimals for (_, _, token), amount in positions.items())
    assert 500_000 < invested < 2_000_000
    balance = generated.chain.balances(warm, stamp)
    for symbol in ("USDC", "USDT", "DAI"):
        token = token_named(policy.tokens, symbol)
        assert balance[token.address] >= 10_000 * 10**token.decimals
    assert balance[NATIVE] >= 2 * 10**18
    reserve = generated.chain.balances(cold, stamp)
    assert reserve[token_named(policy.tokens, "USDC").address] > 0
    shares = {one.share_token: one.pool_id for one in generated.pool_contracts() if one.is_rebasing}
    rebasing = {token.address for token in policy.tokens if token.rebasing} | set(shares)
    for wallet in (warm, cold):
        moved, held = replayed(generated.chain, stamp, wallet), generated.chain.balances(wallet, stamp)
        assert moved.keys() == held.keys()
        grown = {token for token in held if held[token] > moved[token]}
        assert grown == rebasing & held.keys(), "these grow, all others are what transfers tell"
        assert {token: held[token] for token in held.keys() - rebasing} == {
            token: moved[token] for token in moved.keys() - rebasing
        }
    assert {rows[shares[token]]["project"] for token in shares.keys() & balance.keys()} >= {"aave-v3", "sparklend"}
    assert token_named(policy.tokens, "USDM").address in balance.keys() & reserve.keys()


def test_the_genesis_has_one_of_each_kind(generated: GeneratedMarket, policy: Policy) -> None:
    warm, cold = investable_wallet(policy.wallets).address, cold_wallet(policy.wallets).address
    normal = etherscan(generated, DEMO_DAY, "txlist", warm)
    tokens = etherscan(generated, DEMO_DAY, "tokentx", warm)
    assert sum(row["isError"] == "1" and row["from"] == warm for row in normal) == 1
    assert sum(row["to"] == warm and int(row["value"]) > 0 for row in normal) == 1, "ETH came in"
    assert sum(row["from"] == cold and row["to"] == warm for row in tokens) == 1, "wallet to wallet"
    assert len(etherscan(generated, DEMO_DAY, "txlistinternal", warm)) == 1
    known = {token.address for token in policy.tokens}
    spam = [row for row in tokens if row["tokenSymbol"] == "USDC" and row["contractAddress"] not in known]
    assert len(spam) == 1
    weeks_ago = end_of(DEMO_DAY - timedelta(days=21)).timestamp()
    assert all(int(row["timeStamp"]) < weeks_ago for row in tokens if row not in spam)


def test_plans_are_executed_through_the_market(policy: Policy, tmp_path: Path) -> None:
    market = GeneratedMarket(7, tmp_path / "chain.sqlite", policy.wallets, policy.tokens, policy.protocols)
    warm = investable_wallet(policy.wallets).address
    usdc, dai = token_named(policy.tokens, "USDC"), token_named(policy.tokens, "DAI")
    sold, bought = 10_000 * 10**6, 9_996 * 10**18
    swap = {"step_type": "CONVERT", "token_in": usdc.address, "amount_in": sold, "token_out": dai.address}
    with pytest.raises(PlanRejected, match="no router sells"):
        market.execute_plan(DEMO_DAY, "greedy", plan(swap | {"amount_out": 2 * bought}, day=DEMO_DAY, wallet=warm))
    pool = market.held_pools()["aave-v3/USDC"].facts.pool_id
    worth = market.chain.positions(DEMO_DAY)[warm, pool, usdc.address]
    leave = {
        "step_type": "WITHDRAW",
        "pool_id": pool,
        "token_out": usdc.address,
        "amount_out": worth,
        "is_full_exit": True,
    }
    steps = plan(leave, swap | {"amount_out": bought}, day=DEMO_DAY, wallet=warm)
    receipt = market.execute_plan(DEMO_DAY, "fair", steps)
    sent = [
        one for one in market.chain.transactions(end_of(DEMO_DAY + timedelta(days=1))) if one.time > end_of(DEMO_DAY)
    ]
    assert (receipt.status, receipt.n_transactions) == ("executed", len(sent))
    assert sum(one.is_success for one in sent) == 3
    assert len({transaction.gas_price_wei for transaction in sent}) == 1
    tomorrow = DEMO_DAY + timedelta(days=1)
    gas = answer(market, tomorrow, "https://www.ethgastracker.com/api/gas/average")["data"]["data"]
    hour = next(row for row in gas if row["period"] == f"{tomorrow}T01:00:00+00:00")
    assert sent[0].gas_price_wei == round(hour["median"] * 10**9)
    contracts = {contract.pool_id: contract for contract in market.pool_contracts()}
    assert sent[0].receiver == contracts[pool].contract
    before = len(etherscan(market, DEMO_DAY, "txlist", warm))
    assert len(etherscan(market, tomorrow, "txlist", warm)) == before + len(sent)


def test_a_smaller_market_keeps_the_treasury_and_every_kind_of_pool(
    generated: GeneratedMarket, policy: Policy, tmp_path: Path
) -> None:
    lists = (policy.wallets, policy.tokens, policy.protocols)
    small = GeneratedMarket(7, tmp_path / "chain.sqlite", *lists, n_pools=48)
    rows = answer(small, DEMO_DAY, POOLS)["data"]
    assert 30 <= len(rows) <= 48 + len(small.pendle_markets(DEMO_DAY))
    assert {name: pool.facts for name, pool in small.held_pools().items()} == {
        name: pool.facts for name, pool in generated.held_pools().items()
    }
    assert small.chain.positions(DEMO_DAY).keys() == generated.chain.positions(DEMO_DAY).keys()
    pools = small.chain.world.pools.values()
    assert {pool.role for pool in pools} >= {"lend", "vault", "liquidity"}
    assert {(pool.is_rebasing, pool.is_routed_in, pool.is_routed_out) for pool in pools} >= {
        (True, False, False),
        (False, True, True),
        (False, True, False),
        (False, False, True),
    }
