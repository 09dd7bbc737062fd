"""Assets of chain facts: what our wallets moved, and what the chain says they hold.

Lives here: asking the vendors. Not here: what the facts mean (ledger.py) or what holdings are worth (treasury.py).
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime

import dagster as dg
import pandas as pd

from defiyield_assets.domain.chains import name_or_none
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.finality import (
    At,
    Reading,
    Readings,
    Settlement,
    first_block,
    mark_pending,
    settle,
)
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.outcomes import LEDGER_NOT_READ
from defiyield_assets.domain.policy import Policy, Wallet
from defiyield_assets.orchestration.declarations import daily_asset
from defiyield_assets.orchestration.partitions import single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY, RETRY_INGESTION
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import MarketResource, WarehouseResource, window_of
from defiyield_assets.settings import KEY_VARIABLES
from defiyield_assets.sources.etherscan import ACTIONS, Etherscan
from defiyield_assets.sources.ethplorer import CHAIN_ID as ETHPLORER_CHAIN
from defiyield_assets.sources.ethplorer import Ethplorer
from defiyield_assets.sources.transport import Gateway
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.writes import WriteReceipt

OVERLAP_BLOCKS = 100
"""Blocks read again below a wallet's newest transaction, for what the vendor tells late."""


def _readings(warehouse: WarehouseResource, wallets: Sequence[Wallet], day: date) -> dict[At, list[Reading]]:
    """How far the runs of earlier days read each wallet, oldest first.

    Whatever was read after the day does not count: a day that is read again asks what it asked before.
    """
    cursors = reads.read_all(warehouse.engine, schema.account_cursors).sort_values("read_through", kind="stable")
    columns = ("chain_id", "wallet", "read_through", "last_block", "final_block")
    found: dict[At, list[Reading]] = {(wallet.chain_id, wallet.address): [] for wallet in wallets}
    for chain_id, wallet, through, last, final in zip(*(cursors[name] for name in columns), strict=True):
        if through < day and (chain_id, wallet) in found:
            found[chain_id, wallet].append(Reading(through, int(last), int(final)))
    return found


def _final_blocks(newest: Mapping[int, int], readings: Readings, confirmations: int) -> dict[int, int]:
    """Highest block of each chain that is deep enough; what was deep enough once stays so."""
    return {
        chain_id: max(
            [
                block - confirmations,
                *(each[-1].final_block for (at, _), each in readings.items() if at == chain_id and each),
            ]
        )
        for chain_id, block in newest.items()
    }


def _cursors(
    wallets: Sequence[Wallet], transactions: pd.DataFrame, day: date, readings: Readings, final: Mapping[int, int]
) -> pd.DataFrame:
    """The day's cursor of each wallet: its newest transaction by the end of the day, and which block is final."""
    rows = []
    for wallet in wallets:
        before = readings[wallet.chain_id, wallet.address]
        is_own = (transactions["from_address"] == wallet.address) | (transactions["to_address"] == wallet.address)
        blocks = transactions.loc[is_own & (transactions["chain_id"] == wallet.chain_id), "block_number"]
        begun = [
            0 if wallet.opening is None else wallet.opening.block,
            *(reading.last_block for reading in before[-1:]),
        ]
        rows.append(
            {
                "chain_id": wallet.chain_id,
                "wallet": wallet.address,
                "kind": "all",
                "read_through": day,
                "last_block": max([*begun, *blocks.astype(int)]),
                "final_block": max(0, final[wallet.chain_id]),
            }
        )
    return pd.DataFrame(rows, columns=[column.name for column in schema.account_cursors.columns])


def _write(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, settlement: Settlement, day: date
) -> WriteReceipt:
    """Write what the reading settled; every step may be repeated.

    Transactions that are withdrawn leave the postings of other days too: they are booked again where they are now.
    """
    engine, table = warehouse.engine, schema.account_transactions
    for chain_id in sorted({chain_id for chain_id, _ in settlement.withdrawn}):
        hashes = sorted(tx_hash for at, tx_hash in settlement.withdrawn if at == chain_id)
        which = {"chain_id": chain_id, "tx_hash": hashes, "is_pending": True}
        writes.delete_where(engine, schema.ledger_postings, which)
        gone = writes.delete_where(engine, table, which)
        context.log.warning(
            "the chain was reorganised: %s pending rows of transactions %s are replaced; days after %s that were run "
            "with them have to run again",
            gone,
            ", ".join(hashes),
            day,
        )
    writes.add_history(engine, table, settlement.added)
    writes.upsert(engine, table, settlement.settled)
    return writes.replace_slice(engine, table, settlement.own, DayRange.of(day))


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

    Rows in blocks that are not deep enough yet are pending: the next day reads them again and replaces them. Final rows
    are never edited, and older ones are only added where they are not known yet.
    """
    day, engine = single_day(context), warehouse.engine
    policy, table = warehouse.policy(day), schema.account_transactions
    wallets, columns = policy.wallets, [column.name for column in table.columns]
    if not wallets or not market.has_key("etherscan"):
        variable, adds = KEY_VARIABLES["etherscan"]
        receipt = writes.insert_missing(engine, table, pd.DataFrame(columns=columns))
        reason = f"no {variable}: without it no {adds}" if wallets else "no wallet is configured in accounts.yaml"
        instead = "what we hold is not known, so there is no net asset value and no plan; everything else still comes"
        return report(receipt, degraded=f"{reason}; {instead}", degraded_by=LEDGER_NOT_READ)
    readings = _readings(warehouse, wallets, day)
    starts = {
        (wallet.chain_id, wallet.address): first_block(
            readings[wallet.chain_id, wallet.address],
            OVERLAP_BLOCKS,
            None if wallet.opening is None else wallet.opening.block,
        )
        for wallet in wallets
    }
    chains = sorted({wallet.chain_id for wallet in wallets})

    async def question(gateway: Gateway) -> tuple[dict[int, int], pd.DataFrame]:
        client = Etherscan(gateway)
        # First: what is deep enough then is at least as deep when the transactions are told.
        newest = {chain_id: (await client.newest_block(chain_id)).rows for chain_id in chains}
        answers = [await client.transactions(*at, start) for at, start in starts.items()]
        return newest, merge_views([answer.rows for answer in answers])

    newest, told = market.ask(engine, day, question, calls={"etherscan": len(chains) + ACTIONS * len(wallets)})
    final = _final_blocks(newest, readings, policy.parameters.confirmations)
    told = told.loc[told["date"] <= day, columns]  # one name: a history of a million rows is there once, not four times
    told = mark_pending(told.reset_index(drop=True), final)
    first = {chain_id: min(start for (at, _), start in starts.items() if at == chain_id) for chain_id in chains}
    stored = reads.account_transactions_from(engine, first, day)
    settlement = settle(stored, told, day=day, readings=readings, starts=starts)
    receipt = _write(context, warehouse, settlement, day)
    writes.upsert(engine, schema.account_cursors, _cursors(wallets, told, day, readings, final))
    own = settlement.own
    return report(
        receipt,
        own,
        transactions=int(own["tx_hash"].nunique()),
        pending=int(own["is_pending"].sum()),
        told_late=len(settlement.added) if any(readings.values()) else 0,
        settled=len(settlement.settled),
    )


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
    """Balances of our wallets as the chain tells them at the end of the day, to reconcile the ledger against.

    Of wallets on Ethereum every token (Ethplorer); on other chains the coin, the approved tokens and the shares of
    listed pools, one by one (Etherscan).
    """
    day, engine = single_day(context), warehouse.engine
    policy = warehouse.policy(day)
    shares = warehouse.contracts(day)
    tokens = {
        wallet: _known_tokens(policy, shares, wallet.chain_id)
        for wallet in policy.wallets
        if wallet.chain_id != ETHPLORER_CHAIN and market.has_key("etherscan")
    }
    on_ethereum = [wallet for wallet in policy.wallets if wallet.chain_id == ETHPLORER_CHAIN]

    async def question(gateway: Gateway) -> list[pd.DataFrame]:
        frames, window = [], window_of(day)
        for wallet in on_ethereum:
            told = await Ethplorer(gateway).address_info(wallet.address, window)
            frames.append(_balances(wallet, told.rows, "ethplorer", told.fetched_at))
        for wallet, known in tokens.items():
            told = await Etherscan(gateway).balances(wallet.chain_id, wallet.address, known, window)
            frames.append(_balances(wallet, told.rows, "etherscan", told.fetched_at))
        return [frame.assign(date=day) for frame in frames]

    columns = [column.name for column in schema.chain_balances.columns]
    frames = market.ask(engine, day, question) if on_ethereum or tokens else []
    frame = pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
    return report(writes.replace_slice(engine, schema.chain_balances, frame, DayRange.of(day)), frame)


def _known_tokens(policy: Policy, contracts: pd.DataFrame, chain_id: int) -> dict[str, int]:
    """Decimals of the tokens whose balance decides something on a chain: approved ones, and shares of listed pools."""
    name = name_or_none(chain_id)
    approved = {token.address: token.decimals for token in policy.tokens if token.chain == name}
    here = contracts[contracts["chain_id"] == chain_id]
    return approved | dict(zip(here["share_token"], here["share_decimals"].astype(int), strict=True))


def _balances(wallet: Wallet, told: pd.DataFrame, source: str, stamp: datetime) -> pd.DataFrame:
    return told.assign(chain_id=wallet.chain_id, wallet=wallet.address, source=source, observed_at=stamp)
