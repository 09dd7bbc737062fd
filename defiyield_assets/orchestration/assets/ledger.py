"""Assets of the ledger: chain facts, postings, balances, positions, net asset value, attribution.

Lives here: wiring of domain/ledger. Not here: plans; the ledger never reads one, the world in between is the chain.
"""

from collections.abc import Mapping
from datetime import date

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.ledger.accruals import build_accruals
from defiyield_assets.domain.ledger.attribution import yield_attribution as attribute_yield
from defiyield_assets.domain.ledger.balances import daily_balances as build_balances
from defiyield_assets.domain.ledger.nav import nav_daily as build_nav
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.ledger.positions import pool_positions as build_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.valuation import Prices, eth_prices
from defiyield_assets.domain.outcomes import LEDGER_NOT_READ
from defiyield_assets.domain.policy import Wallet
from defiyield_assets.domain.pools.histories import known_view
from defiyield_assets.domain.pools.snapshot import under_todays_ids
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.failures import why_ledger_is_unknown
from defiyield_assets.orchestration.partitions import FIRST_DAY, YESTERDAY, day_before, rolling, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.etherscan import Etherscan
from defiyield_assets.sources.ethplorer import Ethplorer
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema, writes

BEGINNING = date(2015, 7, 30)
"""Ethereum's first day: nothing is older."""
OVERLAP_BLOCKS = 100
"""Blocks read again below the cursor, deeper than reorganisations go."""


def prices_of(warehouse: WarehouseResource, days: DayRange) -> Prices:
    """Closes of trusted tokens and of ETH on the days."""
    engine = warehouse.engine
    return Prices.of(
        warehouse.policy(days.end),
        reads.read_days(engine, schema.daily_bars, days),
        eth_prices(reads.read_days(engine, schema.gas_fees_daily, days)),
    )


def _cursor_before(warehouse: WarehouseResource, wallet: Wallet, day: date) -> int | None:
    """The highest block read by the newest run of an earlier day; None when no earlier day was read."""
    cursors = reads.read_all(
        warehouse.engine, schema.account_cursors, where={"chain_id": wallet.chain_id, "wallet": wallet.address}
    )
    earlier = cursors[cursors["read_through"] < day]
    if earlier.empty:
        return None
    return int(earlier.loc[earlier["read_through"] == earlier["read_through"].max(), "last_block"].min())


def _first_block(warehouse: WarehouseResource, wallet: Wallet, day: date) -> int:
    """Where to read a wallet's history from: below the cursor of the day before, whatever was read after it.

    So a day that is read again asks what it asked before; without an earlier day it is the beginning.
    """
    return max(0, (_cursor_before(warehouse, wallet, day) or 0) - OVERLAP_BLOCKS)


def _cursors(warehouse: WarehouseResource, transactions: pd.DataFrame, day: date) -> pd.DataFrame:
    """The day's cursor of each wallet: the highest block with a transaction of its own by the end of the day."""
    rows = []
    for wallet in warehouse.policy(day).wallets:
        own = transactions[
            (transactions["from_address"] == wallet.address) | (transactions["to_address"] == wallet.address)
        ]
        blocks = own.loc[own["date"] <= day, "block_number"]
        rows.append(
            {
                "chain_id": wallet.chain_id,
                "wallet": wallet.address,
                "kind": "all",
                "last_block": max([_cursor_before(warehouse, wallet, day) or 0, *blocks.astype(int)]),
                "read_through": day,
            }
        )
    return pd.DataFrame(rows, columns=[column.name for column in schema.account_cursors.columns])


@daily_asset(
    schema.account_transactions,
    group="ledger",
    phase=1,
    spec="defi.md#ingestion",
    backfill=DAY_BY_DAY,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="etherscan",
)
def account_transactions(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Everything that moved value in or out of our wallets up to the end of the day, and the gas they paid.

    The day's rows are replaced by what the chain says now; older rows are only added where they are not known yet.
    """
    day, engine = single_day(context), warehouse.engine
    only, wallets = DayRange.of(day), warehouse.policy(day).wallets
    columns = [column.name for column in schema.account_transactions.columns]
    if not wallets or not market.has_key("etherscan"):
        variable, adds = KEY_VARIABLES["etherscan"]
        receipt = writes.insert_missing(engine, schema.account_transactions, pd.DataFrame(columns=columns))
        reason = f"no {variable}: without it no {adds}" if wallets else "no wallet is configured in accounts.yaml"
        instead = "what we hold is not known, so there is no net asset value and no plan; everything else still comes"
        return report(receipt, degraded=f"{reason}; {instead}", degraded_by=LEDGER_NOT_READ)

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client = Etherscan(gateway)
        answers = [
            await client.transactions(wallet.chain_id, wallet.address, _first_block(warehouse, wallet, day))
            for wallet in wallets
        ]
        return [answer.rows for answer in answers]

    frame = merge_views(market.ask(engine, day, question))[columns]
    writes.insert_missing(engine, schema.account_transactions, frame[frame["date"] < day].reset_index(drop=True))
    own = frame[frame["date"] == day].reset_index(drop=True)
    receipt = writes.replace_slice(engine, schema.account_transactions, own, only)
    writes.upsert(engine, schema.account_cursors, _cursors(warehouse, frame, day))
    return report(receipt, own, transactions=int(own["tx_hash"].nunique()))


@daily_asset(
    schema.chain_balances,
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool="ethplorer",
)
def chain_balances(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """Balances of our wallets as the chain tells them at the end of the day, to reconcile the ledger against."""
    day, engine = single_day(context), warehouse.engine
    wallets = warehouse.policy(day).wallets

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        client, frames = Ethplorer(gateway), []
        for wallet in wallets:
            answer = await client.address_info(wallet.address, window_of(day))
            frames.append(
                answer.rows.assign(
                    date=day,
                    chain_id=wallet.chain_id,
                    wallet=wallet.address,
                    source="ethplorer",
                    observed_at=answer.fetched_at,
                )
            )
        return frames

    columns = [column.name for column in schema.chain_balances.columns]
    frames = market.ask(engine, day, question) if wallets else []
    frame = pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
    return report(writes.replace_slice(engine, schema.chain_balances, frame, DayRange.of(day)), frame)


def postings_through(warehouse: WarehouseResource, day: date) -> pd.DataFrame:
    """All stored postings up to and including the day."""
    return reads.read_days(warehouse.engine, schema.ledger_postings, DayRange(BEGINNING, day))


@daily_asset(
    schema.ledger_postings,
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        "account_transactions",
        "chain_balances",
        "pool_contracts",
        "daily_bars",
        "gas_fees_daily",
        "policy_snapshot",
    ],
)
def ledger_postings(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Double entry over every transfer, in integers; the legs of a transaction sum to zero per token.

    Days before the first run are booked too; their legs have no value in dollars where no close is known.
    """
    day, engine = single_day(context), warehouse.engine
    only, history = DayRange.of(day), DayRange(BEGINNING, day)
    policy, contracts = warehouse.policy(day), warehouse.contracts(day)
    transactions = reads.read_days(engine, schema.account_transactions, history)
    prices = prices_of(warehouse, only)
    booked = build_postings(transactions, policy=policy, contracts=contracts, prices=prices, days=history, valued=only)
    observed = reads.read_days(engine, schema.chain_balances, history)
    accruals = build_accruals(booked, observed, prices=prices, days=only)
    own = (
        pd.concat([booked[booked["date"] == day], accruals], ignore_index=True)
        if len(accruals)
        else booked[booked["date"] == day]
    )
    writes.insert_missing(engine, schema.ledger_postings, booked[booked["date"] < day].reset_index(drop=True))
    own = own.reset_index(drop=True)
    receipt = writes.replace_slice(engine, schema.ledger_postings, own, only)
    kinds = own.drop_duplicates("tx_hash")["classification"].value_counts()
    return report(receipt, own, classified={str(name): int(n) for name, n in kinds.items()})


@daily_asset(
    schema.daily_balances,
    group="ledger",
    phase=1,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["ledger_postings", "daily_bars", "gas_fees_daily", "pool_contracts", "policy_snapshot"],
)
def daily_balances(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What each wallet holds at the end of the day, token by token; untrusted tokens by quantity, worth nothing."""
    day, only = single_day(context), DayRange.of(single_day(context))
    frame = build_balances(
        postings_through(warehouse, day),
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
        day=day,
    )
    return report(writes.replace_slice(warehouse.engine, schema.daily_balances, frame, only), frame)


def _apys_known(warehouse: WarehouseResource, pool_ids: list[str], day: date) -> pd.DataFrame:
    """APY of each pool and day up to `day`, as known at the cutoff of that very day.

    A pool that we entered under an id that is gone goes on under that id with what is told of today's.
    """
    aliases = warehouse.aliases(day)
    todays = {aliases.get(pool_id, pool_id) for pool_id in pool_ids}
    revisions = reads.pool_history_revisions(warehouse.engine, DayRange(BEGINNING, day), todays, aliases)
    if (revisions["revision"] > 0).any():
        days: list[date] = sorted(set(revisions["date"]))
        views = [known_view(revisions[revisions["date"] == known], cutoff(known)) for known in days]
        revisions = pd.concat(views, ignore_index=True)
    return under_own_ids(revisions[["pool_id", "date", "apy"]], pool_ids, aliases)


def under_own_ids(rows: pd.DataFrame, pool_ids: list[str], aliases: Mapping[str, str]) -> pd.DataFrame:
    """Rows of today's pool ids under the ids that are asked for; of two ids of one pool each gets its own copy."""
    todays = [aliases.get(pool_id, pool_id) for pool_id in pool_ids]
    asked = pd.DataFrame({"asked_id": pool_ids, "pool_id": todays}, dtype=object)  # also without any pool
    return rows.merge(asked, on="pool_id").drop(columns="pool_id").rename(columns={"asked_id": "pool_id"})[list(rows)]


@daily_asset(
    schema.pool_positions,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["ledger_postings", "pool_histories", "daily_bars", "gas_fees_daily", "pool_contracts", "policy_snapshot"],
)
def pool_positions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What we hold in each pool at the end of the day: shares times a rate grown by the pool's observed APY."""
    day, only = single_day(context), DayRange.of(single_day(context))
    postings = postings_through(warehouse, day)
    pool_ids = sorted({pool for pool in postings["pool_id"] if isinstance(pool, str)})
    frame = build_positions(
        postings,
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        apys=_apys_known(warehouse, pool_ids, day),
        prices=prices_of(warehouse, only),
        day=day,
    )
    return report(writes.replace_slice(warehouse.engine, schema.pool_positions, frame, only), frame)


@daily_asset(
    schema.nav_daily,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        dg.AssetDep("daily_balances", partition_mapping=rolling(1)),
        dg.AssetDep("pool_positions", partition_mapping=rolling(1)),
        "ledger_postings",
        "daily_bars",
        "gas_fees_daily",
        "pool_contracts",
        "policy_snapshot",
        dg.AssetDep("nav_daily", partition_mapping=YESTERDAY),
    ],
)
def nav_daily(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """Net asset value and what moved it: flows, income, expenses, prices; the parts add up exactly.

    A day of which nobody was asked what our wallets did has none.
    """
    day, engine = single_day(context), warehouse.engine
    only, before = DayRange.of(day), DayRange.of(day_before(day))
    if why_ledger_is_unknown(engine, day) is not None:
        empty = pd.DataFrame(columns=[column.name for column in schema.nav_daily.columns])
        return report(writes.replace_slice(engine, schema.nav_daily, empty, only))
    frame = build_nav(
        day,
        balances=reads.read_days(engine, schema.daily_balances, only),
        positions=reads.read_days(engine, schema.pool_positions, only),
        previous_balances=reads.read_days(engine, schema.daily_balances, before),
        previous_positions=reads.read_days(engine, schema.pool_positions, before),
        postings=reads.read_days(engine, schema.ledger_postings, only),
        previous_nav=reads.read_days(engine, schema.nav_daily, DayRange(FIRST_DAY, before.end))
        if before.end >= FIRST_DAY
        else reads.read_days(engine, schema.nav_daily, before),
        policy=warehouse.policy(day),
        contracts=warehouse.contracts(day),
        prices=prices_of(warehouse, only),
    )
    row = frame.iloc[0]
    return report(
        writes.replace_slice(engine, schema.nav_daily, frame, only),
        frame,
        nav_usd=float(row["nav_usd"]),
        idle_share=row["idle_share"],
    )


@daily_asset(
    schema.yield_attribution,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        dg.AssetDep("pool_positions", partition_mapping=rolling(1)),
        "ledger_postings",
        "nav_daily",
        dg.AssetDep("pool_histories", partition_mapping=rolling(1)),
        "daily_bars",
        "gas_fees_daily",
        "policy_snapshot",
    ],
)
def yield_attribution(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What each held pool promised, what was expected when we decided, and what it really earned on the day."""
    day, engine = single_day(context), warehouse.engine
    only, before = DayRange.of(day), DayRange.of(day_before(day))
    positions = reads.read_days(engine, schema.pool_positions, only)
    previous = reads.read_days(engine, schema.pool_positions, before)
    pool_ids = sorted(set(positions["pool_id"]) | set(previous["pool_id"]))
    aliases = warehouse.aliases(day)
    todays = {aliases.get(pool_id, pool_id) for pool_id in pool_ids}
    told = reads.pool_histories(engine, before, cutoff(before.end), todays, aliases)[["pool_id", "apy"]]
    advertised = under_own_ids(told, pool_ids, aliases)
    horizon = warehouse.policy(day).parameters.horizon_days
    expected = reads.read_days(engine, schema.pool_forecasts, before, where={"target": "apy", "horizon_days": horizon})
    expected = under_todays_ids(expected, aliases, ["as_of"])
    expected = under_own_ids(expected[["pool_id", "mean"]], pool_ids, aliases)
    frame = attribute_yield(
        day,
        positions=positions,
        previous_positions=previous,
        postings=reads.read_days(engine, schema.ledger_postings, only),
        prices=prices_of(warehouse, only),
        advertised=dict(zip(advertised["pool_id"], advertised["apy"], strict=True)),
        forecasts=dict(zip(expected["pool_id"], expected["mean"], strict=True)),
    )
    return report(writes.replace_slice(engine, schema.yield_attribution, frame, only), frame)
