"""The ledger on real answers (recorded Etherscan account) and beside the simulated chain, to the unit."""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pandas as pd
import pytest

from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.ledger.accounts import CLASSIFICATIONS, NATIVE
from defiyield_assets.domain.ledger.balances import daily_balances
from defiyield_assets.domain.ledger.checks import find_negative_balances, find_unbalanced
from defiyield_assets.domain.ledger.ordinals import merge_views
from defiyield_assets.domain.ledger.positions import pool_positions
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.valuation import Prices
from defiyield_assets.domain.policy import GasUnits, Parameters, Policy, Token, Wallet
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator.chain import SimulatedChain
from defiyield_assets.simulator.chain_records import ChainPool, ChainWorld
from defiyield_assets.sources.account_rows import account_frame
from defiyield_assets.sources.etherscan import parse_internal, parse_token_transfers, parse_transactions
from defiyield_assets_tests.domain.ledger.books import trial_balance_of
from defiyield_assets_tests.domain.ledger.facts import COLD, DAI, START, USDC, WARM

ACCOUNT = "0xb8553d9ee35dd23bb96fbd679e651b929821969b"
REAL_USDC = "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48"
CONTRACT_COLUMNS = ["pool_id", "share_token", "chain_id", "contract", "share_decimals", "is_rebasing", "source"]
NO_CONTRACTS = pd.DataFrame(columns=CONTRACT_COLUMNS)


def read_answers(answers: Mapping[str, list[object]], chain_id: int, wallet: str) -> pd.DataFrame:
    """One wallet's `account_transactions` from the answers of the three actions."""
    rows = [row for answer in answers["txlist"] for row in parse_transactions(answer, chain_id, wallet).rows]
    rows += [row for answer in answers["tokentx"] for row in parse_token_transfers(answer, chain_id).rows]
    rows += [row for answer in answers["txlistinternal"] for row in parse_internal(answer, chain_id).rows]
    return account_frame(rows)


@pytest.mark.recorded
@pytest.mark.parametrize(("chain_id", "last_block"), [(1, "16295684"), (10, "57161744")])
def test_recorded_account_is_classified_or_explicitly_unexplained(
    recorded_data: Path, chain_id: int, last_block: str
) -> None:
    entries = json.loads(
        (recorded_data / "chain" / "etherscan_account_0xb8553d9e_txlist_tokentx_internal.json").read_text()
    )
    answers: dict[str, list[object]] = {"txlist": [], "tokentx": [], "txlistinternal": []}
    for entry in entries:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(entry["url"]).query).items()}
        if asked["endblock"] == last_block and asked["startblock"] == "0":
            answers[asked["action"]].append(entry["response"])
    frame = read_answers(answers, chain_id, ACCOUNT)
    assert len(frame) > 20
    policy = Policy(
        Parameters(),
        (Token("USDC", "Ethereum", REAL_USDC, 6, "Circle"),),
        (),
        wallets=(Wallet("main", chain_id, ACCOUNT, investable=True),),
    )
    days = sorted(set(frame["date"]))
    bars = pd.DataFrame(
        [(f"ethereum:{REAL_USDC}", day, 1.0) for day in days], columns=["instrument_id", "date", "close"]
    )
    prices = Prices.of(policy, bars, dict.fromkeys(days, Decimal(1_200)))
    postings = build_postings(frame, policy=policy, contracts=NO_CONTRACTS, prices=prices)
    assert find_unbalanced(postings) == []
    assert set(postings["classification"]) <= set(CLASSIFICATIONS)
    booked = set(postings["tx_hash"])
    moved = frame[(frame["is_success"] & (frame["value"] > 0)) | (frame["kind"] == "gas")]
    spam = set(moved["tx_hash"]) - booked
    untrusted = moved[moved["tx_hash"].isin(spam)]
    assert set(untrusted["kind"]) <= {"token"}
    assert set(untrusted["from_address"]) <= {ACCOUNT}
    swap = postings[postings["tx_hash"].str.startswith("0x31c4bbc6")]
    if chain_id == 1:
        assert set(swap["classification"]) == {"swap"}
        assert dict(zip(swap["account"], swap["token_address"], strict=True))["equity:conversions"] in {
            NATIVE,
            REAL_USDC,
        }
        assert 49_673_249 in set(swap["amount"])
    gas = frame[frame["kind"] == "gas"]
    assert sum(postings.loc[postings["account"] == "expenses:gas", "amount"]) == sum(
        used * price for used, price in zip(gas["gas_used"], gas["gas_price_wei"], strict=True)
    )


TOKENS = {
    USDC: Token("USDC", "Ethereum", USDC, 6, "Circle"),
    DAI: Token("DAI", "Ethereum", DAI, 18, "Maker"),
}
POOLS = {
    "lend": ChainPool("lend", "lend", (USDC,)),
    "pair": ChainPool("pair", "liquidity", (USDC, DAI)),
}
APYS = {"lend": {0: 0.07, 2: 0.11, 3: 0.02}, "pair": {1: 0.31}}
POLICY = Policy(
    Parameters(),
    tuple(TOKENS.values()),
    (),
    wallets=(Wallet("cold", 1, COLD), Wallet("warm", 1, WARM, investable=True)),
)


def apy_on(pool_id: str, day: date) -> float | None:
    known = [apy for at, apy in sorted(APYS[pool_id].items()) if START + timedelta(days=at) <= day]
    return known[-1] if known else None


def simulated_chain(folder: Path) -> SimulatedChain:
    at = datetime(2025, 6, 2, 6, tzinfo=UTC)
    later = [at + timedelta(seconds=12 * step) for step in range(9)]
    genesis = [
        tx.send_tokens(later[0], tx.OUTSIDE, COLD, (TOKENS[USDC], 10_000_000_000)),
        tx.send_tokens(later[1], tx.OUTSIDE, WARM, (TOKENS[DAI], 5_000 * 10**18)),
        tx.send_ether(later[2], tx.OUTSIDE, WARM, 10**18),
        tx.send_ether(later[3], tx.OUTSIDE, COLD, 10**18),
        tx.send_tokens(later[4], COLD, WARM, (TOKENS[USDC], 9_000_000_000)),
        tx.refund_ether(later[5], WARM, 123_456),
        tx.airdrop_spoof(later[6], WARM, TOKENS[USDC], 777_000_000),
        tx.failed_call(later[7], WARM, USDC, 60_000, 10**9),
    ]
    world = ChainWorld(frozenset({COLD, WARM}), TOKENS, POOLS, GasUnits())
    return SimulatedChain(folder / "chain.sqlite", genesis=genesis, world=world, apy_on=apy_on)


def step(seq: int, kind: str, leg: int = 0, *, full: bool = False, **values: object) -> dict[str, object]:
    nothing = dict.fromkeys(("pool_id", "token_in", "amount_in", "token_out", "amount_out"))
    return {"seq": seq, "leg": leg, "step_type": kind, "wallet": WARM, "is_full_exit": full, **nothing, **values}


def plans() -> dict[int, list[dict[str, object]]]:
    """Deposits, conversions, partial, one-sided and full withdrawals on consecutive days."""
    usdc, dai = {"token_in": USDC}, {"token_in": DAI}
    return {
        0: [
            step(1, "DEPOSIT", pool_id="lend", amount_in=4_000_123_457, **usdc),
            step(2, "DEPOSIT", pool_id="pair", amount_in=1_000_000_001, **usdc),
            step(2, "DEPOSIT", 1, pool_id="pair", amount_in=999 * 10**18 + 7, **dai),
        ],
        1: [
            step(1, "WITHDRAW", pool_id="lend", token_out=USDC, amount_out=1_234_567_891),
            step(2, "CONVERT", amount_in=500_000_000, token_out=DAI, amount_out=499 * 10**18 + 3, **usdc),
            step(3, "DEPOSIT", pool_id="lend", amount_in=77_777_777, **usdc),
        ],
        2: [step(1, "WITHDRAW", pool_id="pair", token_out=DAI, amount_out=10**20 + 1)],
        3: [step(1, "WITHDRAW", full=True, pool_id="lend", token_out=USDC, amount_out=1)],
    }


def test_ledger_and_simulated_chain_agree_to_the_unit_every_day(tmp_path: Path) -> None:
    chain = simulated_chain(tmp_path)
    contracts = pd.DataFrame(
        [(pool.pool_id, pool.share_token, 1, pool.contract, 18, False, "test") for pool in POOLS.values()],
        columns=CONTRACT_COLUMNS,
    )
    days = [START + timedelta(days=at) for at in range(6)]
    bars = pd.DataFrame(
        [(token.instrument_id, day, 1.0) for token in TOKENS.values() for day in days],
        columns=["instrument_id", "date", "close"],
    )
    shared = {
        "policy": POLICY,
        "contracts": contracts,
        "prices": Prices.of(POLICY, bars, dict.fromkeys(days, Decimal(2_000))),
    }
    apys = pd.DataFrame(
        [(pool_id, START + timedelta(days=at), apy) for pool_id, known in APYS.items() for at, apy in known.items()],
        columns=["pool_id", "date", "apy"],
    )
    for at, day in enumerate(days):
        stamp = end_of(day)
        views = []
        for wallet in (COLD, WARM):
            answers: dict[str, list[object]] = {
                action: [
                    chain_answers.etherscan(chain, stamp, {"module": "account", "action": action, "address": wallet})
                ]
                for action in ("txlist", "tokentx", "txlistinternal")
            }
            views.append(read_answers(answers, 1, wallet))
        facts = merge_views(views)
        postings = build_postings(facts[facts["date"] <= day], **shared)
        assert find_unbalanced(postings) == []
        assert find_negative_balances(postings) == []
        assert "unexplained" not in set(postings["classification"])
        balances = daily_balances(trial_balance_of(postings, day), day=day, **shared)
        for wallet in (COLD, WARM):
            mine = balances[balances["wallet"] == wallet]
            truth = {token: held for token, held in chain.balances(wallet, stamp).items() if held}
            assert dict(zip(mine["token_address"], mine["balance"], strict=True)) == truth
        positions = pool_positions(postings, apys=apys, day=day, **shared)
        keys = zip(positions["wallet"], positions["pool_id"], positions["token_address"], strict=True)
        ours = {key: held for key, held in zip(keys, positions["underlying_amount"], strict=True) if held}
        assert ours == {key: held for key, held in chain.positions(day).items() if held}
        if at in plans():
            chain.execute_plan(day, f"run-{at}", pd.DataFrame(plans()[at], dtype=object), gas_price_wei=10**9)
    assert set(positions["pool_id"]) == {"pair"}
