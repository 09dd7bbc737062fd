"""Assets of positions: what the chain says shares are worth, and what we hold in each pool.

Lives here: asking the node, wiring of domain/ledger/positions.py. Not here: the books (ledger.py), what everything is
worth together (treasury.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

from defiyield_assets.domain.days import DayRange, cutoff
from defiyield_assets.domain.ledger.accounts import CORRECTION, POOL_PREFIX
from defiyield_assets.domain.ledger.positions import advance_positions
from defiyield_assets.domain.ledger.positions import pool_positions as build_positions
from defiyield_assets.domain.ledger.share_rates import ShareAnswer, ShareQuestion, share_questions
from defiyield_assets.domain.ledger.share_rates import share_rates as build_rates
from defiyield_assets.domain.outcomes import NO_CROSS_CHECK
from defiyield_assets.domain.pools.histories import known_view
from defiyield_assets.errors import TransientError, VendorError
from defiyield_assets.orchestration.assets.ledger import BEGINNING, prices_of
from defiyield_assets.orchestration.declarations import daily_asset, is_last_attempt
from defiyield_assets.orchestration.partitions import YESTERDAY, day_before, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, settled_window
from defiyield_assets.sources.erc4626 import worth_of
from defiyield_assets.sources.ethereum_node import EthereumNode
from defiyield_assets.sources.transport import Gateway, all_of
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.warehouse import ReadableWarehouse

NODE, NODE_CHAIN = "ethereum_node", 1
"""The node that is asked, and the chain that it tells of."""
CALLS_FOR_BLOCK, CALLS_PER_SHARE = 8, 2
APY_DAYS = 35
"""How far back the last known APY of a pool is looked for before its whole history is read."""


async def _ask(gateway: Gateway, day: date, questions: Sequence[ShareQuestion]) -> tuple[list[ShareAnswer], int]:
    """The answers of the contracts that follow ERC-4626, and the block that they are of."""
    node, reuse = EthereumNode(gateway), settled_window(DayRange.of(day))
    block = await node.last_block_of(day, reuse)

    async def ask(question: ShareQuestion) -> ShareAnswer | None:
        told = await worth_of(
            node, question.share_token, question.shares, block.rows.number, holder=question.wallet, reuse=reuse
        )
        if told is None:
            return None
        return ShareAnswer(question, told.token, told.assets, block.rows.number, block.fetched_at)

    told = await all_of(ask(question) for question in questions)
    return [answer for answer in told if answer is not None], block.rows.number


@daily_asset(
    schema.share_rates,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["daily_balances", "pool_contracts", "policy_snapshot"],
    kinds=("python", "sql"),
    retry=RETRY_INGESTION,
    pool=NODE,
)
def share_rates(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, market: MarketResource
) -> dg.MaterializeResult:
    """What our shares are worth as their contracts tell it at the last block of the day, where a node is configured.

    `convertToAssets` of exactly the shares held (ERC-4626). Contracts that do not follow it are noted; without a node
    nothing is asked, and where it fails positions grow at the observed APYs.
    """
    day, engine = single_day(context), warehouse.engine
    only, table = DayRange.of(day), schema.share_rates
    balances = reads.read_days(engine, schema.daily_balances, only)
    questions = share_questions(balances, warehouse.contracts(day), NODE_CHAIN)
    if not questions or not market.has_key(NODE):
        asked = "no shares to ask about" if not questions else "no node is configured"
        return report(writes.replace_slice(engine, table, build_rates(day, []), only), not_asked=asked)
    calls = {NODE: CALLS_FOR_BLOCK + CALLS_PER_SHARE * len(questions)}
    try:
        answers, block = market.ask(engine, day, lambda gateway: _ask(gateway, day, questions), calls=calls)
    except VendorError as error:
        if isinstance(error, TransientError) and not is_last_attempt(context, RETRY_INGESTION):
            raise
        receipt = writes.insert_missing(engine, table, build_rates(day, []))
        return report(
            receipt, degraded=f"{error}; positions grow at the observed APYs instead", degraded_by=NO_CROSS_CHECK
        )
    frame = build_rates(day, answers)
    silent = sorted({question.pool_id for question in questions} - {answer.question.pool_id for answer in answers})
    return report(
        writes.replace_slice(engine, table, frame, only), frame, block_number=block, pools_without_erc4626=silent
    )


def _apys_known(warehouse: ReadableWarehouse, pool_ids: Sequence[str], days: DayRange) -> pd.DataFrame:
    """APY of each pool and day of the range, as known at the cutoff of that very day.

    A pool that we entered under an id that is gone goes on under that id with what is told of today's.
    """
    aliases = warehouse.aliases(days.end)
    todays = {aliases.get(pool_id, pool_id) for pool_id in pool_ids}
    revisions = reads.pool_history_revisions(warehouse.engine, days, todays, aliases)
    if (revisions["revision"] > 0).any():
        told: list[date] = sorted(set(revisions["date"]))
        views = [known_view(revisions[revisions["date"] == known], cutoff(known)) for known in told]
        revisions = pd.concat(views, ignore_index=True)
    return under_own_ids(revisions[["pool_id", "date", "apy"]], pool_ids, aliases)


def last_apys(warehouse: ReadableWarehouse, pool_ids: Sequence[str], days: DayRange) -> pd.DataFrame:
    """As `_apys_known`, with at least the last known APY on or before the first day of each pool that has any."""
    recent = _apys_known(warehouse, pool_ids, days.back(APY_DAYS))
    known = set(recent.loc[recent["apy"].notna() & (recent["date"] <= days.start), "pool_id"])
    silent = [pool_id for pool_id in pool_ids if pool_id not in known]
    if not silent:
        return recent
    whole = _apys_known(warehouse, silent, DayRange(BEGINNING, days.end))
    return pd.concat([recent[~recent["pool_id"].isin(silent)], whole], ignore_index=True)


def under_own_ids(rows: pd.DataFrame, pool_ids: Sequence[str], aliases: Mapping[str, str]) -> pd.DataFrame:
    """Rows of today's pool ids under the ids that are asked for; of two ids of one pool each gets its own copy."""
    todays = [aliases.get(pool_id, pool_id) for pool_id in pool_ids]
    asked = pd.DataFrame({"asked_id": list(pool_ids), "pool_id": todays}, dtype=object)  # also without any pool
    return rows.merge(asked, on="pool_id").drop(columns="pool_id").rename(columns={"asked_id": "pool_id"})[list(rows)]


def _days_to_grow(postings: pd.DataFrame, day: date) -> DayRange:
    """The day, and all days since the earliest one that its postings correct."""
    corrected = [at.date() for at in postings.loc[postings["kind"] == CORRECTION, "block_time"]]
    return DayRange(min([day, *corrected]), day)


@daily_asset(
    schema.pool_positions,
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=[
        "ledger_postings",
        "trial_balance",
        "share_rates",
        "pool_histories",
        "daily_bars",
        "gas_fees_daily",
        "pool_contracts",
        "policy_snapshot",
        dg.AssetDep("pool_positions", partition_mapping=YESTERDAY),
    ],
)
def pool_positions(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> dg.MaterializeResult:
    """What we hold in each pool at the end of the day: shares times a rate, whose source and age are told.

    The rate is what the chain itself says (rebasing shares, a node), else the last mint or burn grown by the pool's
    observed APY. Yesterday's positions go on; where there are none everything is replayed from the first posting.
    """
    day, engine = single_day(context), warehouse.engine
    only, before = DayRange.of(day), day_before(day)
    previous = reads.read_days(engine, schema.pool_positions, DayRange.of(before))
    facts: dict[str, Any] = {
        "policy": warehouse.policy(day),
        "contracts": warehouse.contracts(day),
        "prices": prices_of(warehouse, only),
        "day": day,
    }
    if previous.empty:
        postings = reads.pool_postings(engine, day)
        history = DayRange(BEGINNING, day)
        frame = build_positions(
            postings,
            apys=_apys_known(warehouse, sorted(set(postings["pool_id"])), history),
            rates=reads.read_days(engine, schema.share_rates, history),
            **facts,
        )
    else:
        postings = reads.read_days(engine, schema.ledger_postings, only)
        pool_ids = sorted({*previous["pool_id"], *postings["pool_id"].dropna()})
        frame = advance_positions(
            previous,
            postings,
            trial_balance=reads.trial_balance(engine, before, POOL_PREFIX),
            apys=last_apys(warehouse, pool_ids, _days_to_grow(postings, day)),
            rates=reads.read_days(engine, schema.share_rates, only),
            **facts,
        )
    sources = frame["rate_source"].value_counts()
    return report(
        writes.replace_slice(engine, schema.pool_positions, frame, only),
        frame,
        rate_sources={str(name): int(count) for name, count in sources.items()},
        oldest_rate_days=int(frame["rate_age_days"].max()) if len(frame) else None,
    )
