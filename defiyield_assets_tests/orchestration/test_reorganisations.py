"""The newest blocks change between two days: what was pending is replaced, postings too; nothing lost, nothing twice.

Lives here: a chain that reorganises, read by the assets through the real client. Not here: the rules
(domain/ledger/test_finality.py, test_opening.py).
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, ClassVar

import dagster as dg
import httpx
import pandas as pd
import pytest

from defiyield_assets.config.loader import load_policy
from defiyield_assets.domain.days import DayRange, market_stamp
from defiyield_assets.domain.policy import Token
from defiyield_assets.orchestration.assets.chain import account_transactions, chain_balances
from defiyield_assets.orchestration.assets.ledger import book_tables
from defiyield_assets.orchestration.assets.warehouse import policy_snapshot
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator.blocks import block_at
from defiyield_assets.simulator.chain_records import NATIVE, TokenTransfer, Transaction
from defiyield_assets.simulator.chain_transactions import OUTSIDE
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import (
    FIRST,
    SILENT,
    Installation,
    day_after,
    failed_steps,
)

pytestmark = pytest.mark.slow

Install = Callable[..., Installation]
CONFIRMATIONS = 1_000
"""200 minutes: a day is read 30 minutes after its end, so what happened after 21:10 is pending then."""
KEPT = (schema.account_transactions, schema.ledger_postings, schema.trial_balance)
NEXT, THIRD = day_after(FIRST), day_after(FIRST, 2)
POLICY = load_policy(FIRST).policy
COLD, WARM = (wallet.address for wallet in POLICY.wallets)
USDC: Token = next(token for token in POLICY.tokens if (token.symbol, token.chain) == ("USDC", "Ethereum"))


@dataclass(frozen=True)
class Mined(Transaction):
    """A transaction that keeps its hash in whatever block it is."""

    name: str = ""

    @property
    def hash(self) -> str:
        """Of the name alone."""
        return "0x" + hashlib.sha256(self.name.encode()).hexdigest()


@dataclass
class Reorganising:
    """A chain whose transactions tests exchange; answers as the simulated one does."""

    sent: list[Mined] = field(default_factory=list)

    def transactions(self, at: datetime) -> list[Transaction]:
        return sorted((tx for tx in self.sent if tx.time <= at), key=lambda tx: (tx.time, tx.name))

    def balances(self, _address: str, _at: datetime) -> dict[str, int]:
        return {}

    def become(self, change: Callable[[Mined], Mined | None], *more: Mined) -> None:
        """Every transaction as `change` says (None: it is gone), and these as well."""
        self.sent = [new for tx in self.sent if (new := change(tx)) is not None] + list(more)


def sent(name: str, day: date, clock: str, giver: str, taker: str, amount: int) -> Mined:
    """A transfer of USDC (or of ETH from outside when the name begins with eth)."""
    when = datetime.combine(day, datetime.strptime(clock, "%H:%M").time(), tzinfo=UTC)
    shared: dict[str, Any] = {"time": when, "sender": giver, "gas_used": 65_000, "gas_price_wei": 10**9, "name": name}
    if name.startswith("eth"):
        return Mined(receiver=taker, function="", value=amount, **shared)
    moved = TokenTransfer(USDC.address, giver, taker, amount, USDC.decimals, "USDC", "USD Coin")
    return Mined(receiver=USDC.address, function="transfer", transfers=(moved,), **shared)


def history() -> list[Mined]:
    """Three days; of the first one `late`, `later` and `last` are not deep enough when it is read."""
    return [
        sent("eth for cold", FIRST, "06:00", OUTSIDE, COLD, 10**18),
        sent("eth for warm", FIRST, "06:01", OUTSIDE, WARM, 10**18),
        sent("capital", FIRST, "07:00", OUTSIDE, COLD, 10_000),
        sent("late", FIRST, "23:00", COLD, WARM, 900),
        sent("later", FIRST, "23:30", COLD, WARM, 70),
        sent("last", FIRST, "23:50", COLD, OUTSIDE, 5),
        sent("early", NEXT, "01:00", WARM, COLD, 20),
        sent("evening", NEXT, "23:00", WARM, OUTSIDE, 3),
        sent("third", THIRD, "12:00", COLD, WARM, 1),
    ]


class ToldMarket(MarketResource):
    """A market of which only Etherscan is there, and tells of one chain."""

    chain: ClassVar[Reorganising]

    @property
    def simulation(self) -> None:
        """None: it brings no pools, facts or plans along."""
        return

    def _transport(self, day: date) -> httpx.AsyncBaseTransport:
        def answer(request: httpx.Request) -> httpx.Response:
            assert request.url.host == "api.etherscan.io"
            stamp = market_stamp(day)
            told = chain_answers.etherscan(ToldMarket.chain, stamp, dict(request.url.params))  # type: ignore[arg-type]
            headers = {"date": format_datetime(stamp, usegmt=True)}
            return httpx.Response(200, headers=headers, content=json.dumps(told).encode())

        return httpx.MockTransport(answer)


@pytest.fixture
def chain() -> Reorganising:
    """The chain that Etherscan tells of in this test."""
    ToldMarket.chain = Reorganising(history())
    return ToldMarket.chain


@pytest.fixture
def install(sqlite_template: Path, tmp_path: Path, chain: Reorganising) -> Callable[..., Installation]:
    """Makes migrated installations with this policy, on which only the chain and closes for every day are known."""
    assert chain.sent

    def make(name: str = "state", accounts: str | None = None, confirmations: int = CONFIRMATIONS) -> Installation:
        folder, config = tmp_path / name, tmp_path / name / "config"
        config.mkdir(parents=True)
        shutil.copyfile(sqlite_template, folder / "warehouse.sqlite")
        (config / "policy.yaml").write_text(f"parameters: {{confirmations: {confirmations}}}\n", encoding="utf-8")
        if accounts is not None:
            (config / "accounts.yaml").write_text(accounts, encoding="utf-8")
        market = ToldMarket(market="simulated", chain_path=str(folder / "none"), seed=0)
        made = Installation(folder, overrides={"policy": PolicyResource(config_dir=str(config)), "market": market})
        made.warehouse.migrate()
        know_closes(made)
        return made

    return make


BAR_FACTS = ("instrument_id", "date", "instrument_type", "close", "adj_factor", "split_factor")


def know_closes(made: Installation) -> None:
    """A dollar for USDC and 2,000 for ETH, every day."""
    days = DayRange(FIRST, THIRD)
    bars = [(USDC.instrument_id, day, "crypto", 1.0, 1.0, 1.0, "test", "full") for day in days]
    fees = [(day, "base_fee", "test", 2_000.0, 24) for day in days]
    for table, names, rows in (
        (schema.daily_bars, [*BAR_FACTS, "source", "quality"], bars),
        (schema.gas_fees_daily, ["date", "kind", "source", "eth_price_usd", "n_hours"], fees),
    ):
        frame = pd.DataFrame(rows, columns=names).reindex(columns=[column.name for column in table.columns])
        writes.replace_slice(made.engine, table, frame, days)


def book(
    made: Installation, day: date, assets: Sequence[Any] | None = None, *, raise_on_error: bool = True
) -> dg.ExecuteInProcessResult:
    """The day's chain facts and books (or these assets), without the rest of the graph and its checks."""
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [policy_snapshot, account_transactions, book_tables] if assets is None else assets,
            resources={"warehouse": made.warehouse, **made.overrides},
            partition_key=day.isoformat(),
            instance=instance,
            raise_on_error=raise_on_error,
            run_config=SILENT,
        )


def run(made: Installation, *days: date) -> None:
    for day in days:
        assert book(made, day).success


def refused(made: Installation, day: date) -> str:
    """Why account_transactions of the day was refused."""
    result = book(made, day, raise_on_error=False)
    assert "account_transactions" in failed_steps(result)
    rows = made.rows(schema.asset_outcomes, day)
    return str(rows.set_index("asset").loc["account_transactions", "reason"])


def contents(made: Installation) -> dict[str, str]:
    return {table.name: made.fingerprint(table) for table in KEPT}


def undisturbed(install: Install, *days: date) -> dict[str, str]:
    """What an installation holds that only ever saw the chain as it is now."""
    fresh = install("fresh")
    run(fresh, *days)
    return contents(fresh)


def flags(made: Installation, table: Any = schema.account_transactions) -> dict[date, set[bool]]:
    rows = made.rows(table)
    return {day: set(of_day) for day, of_day in rows.groupby("date")["is_pending"]}


def gone(name: str) -> Callable[[Mined], Mined | None]:
    return lambda tx: None if tx.name == name else tx


def moved(name: str, minutes: int) -> Callable[[Mined], Mined]:
    return lambda tx: replace(tx, time=tx.time + timedelta(minutes=minutes)) if tx.name == name else tx


def other(name: str) -> Callable[[Mined], Mined]:
    """The transaction failed in its new block: it moves nothing and burns gas."""
    return lambda tx: replace(tx, is_success=False) if tx.name == name else tx


def test_what_is_not_deep_enough_is_pending_and_the_next_day_makes_it_final(
    chain: Reorganising, install: Install
) -> None:
    made = install()
    run(made, FIRST)
    rows = made.rows(schema.account_transactions)
    pending = set(rows.loc[rows["is_pending"], "tx_hash"])
    assert pending == {tx.hash for tx in chain.sent if tx.name in ("late", "later", "last")}
    posted = made.rows(schema.ledger_postings)
    assert set(posted.loc[posted["is_pending"], "tx_hash"]) == pending
    head = block_at(market_stamp(FIRST))
    assert set(made.rows(schema.account_cursors)["final_block"]) == {head - CONFIRMATIONS}
    run(made, NEXT)
    for table in (schema.account_transactions, schema.ledger_postings):
        assert flags(made, table) == {FIRST: {False}, NEXT: {False, True}}
    before = contents(made)
    run(made, NEXT)
    run(made, FIRST, NEXT)
    assert contents(made) == before, "running days again changes nothing"
    assert before == undisturbed(install, FIRST, NEXT)


@pytest.mark.parametrize(
    "change",
    [
        gone("late"),
        moved("last", 20),
        lambda tx: other("later")(moved("last", -3)(tx)) if tx.name != "late" else None,
    ],
    ids=["a block that vanishes", "to the next day", "one vanishes, one changes, one moves to another block"],
)
def test_a_reorganisation_stops_the_next_day_and_running_the_first_again_heals_everything(
    chain: Reorganising, install: Install, change: Callable[[Mined], Mined | None]
) -> None:
    made = install()
    run(made, FIRST)
    before = contents(made)
    chain.become(change, sent("new", FIRST, "23:55", WARM, OUTSIDE, 1))
    reason = refused(made, NEXT)
    assert "the chain was reorganised" in reason
    assert f"Run {FIRST} again" in reason
    assert f"`defiyield run --from {FIRST} --to {NEXT}`" in reason
    assert contents(made) == before, "a refused day writes nothing"
    run(made, FIRST, NEXT, THIRD)
    assert contents(made) == undisturbed(install, FIRST, NEXT, THIRD)


def test_a_transaction_that_moves_back_over_midnight_leaves_the_day_where_it_was(
    chain: Reorganising, install: Install
) -> None:
    made = install(confirmations=2 * 7_200)
    run(made, FIRST, NEXT)
    chain.become(moved("early", -70))
    assert f"Run {FIRST} again" in refused(made, THIRD)
    run(made, FIRST, NEXT, THIRD)
    fresh = install("fresh", confirmations=2 * 7_200)
    run(fresh, FIRST, NEXT, THIRD)
    assert contents(made) == contents(fresh)


def test_a_final_row_that_vanishes_is_an_error_and_stays(chain: Reorganising, install: Install) -> None:
    made = install(confirmations=0)
    run(made, FIRST, NEXT)
    before = contents(made)
    chain.become(gone("evening"))
    assert "final rows of account_transactions are not told any more" in refused(made, THIRD)
    assert contents(made) == before


def test_what_is_told_late_is_booked_as_a_correction_that_names_it(chain: Reorganising, install: Install) -> None:
    made = install(confirmations=0)
    whole = list(chain.sent)
    chain.become(gone("later"))
    run(made, FIRST)
    chain.sent = whole
    run(made, NEXT)
    late = next(tx for tx in whole if tx.name == "later")
    rows = made.rows(schema.account_transactions)
    assert set(rows.loc[rows["tx_hash"] == late.hash, "date"]) == {FIRST}
    posted = made.rows(schema.ledger_postings)
    corrections = posted[posted["corrects"] == late.hash]
    assert set(corrections["date"]) == {NEXT}
    assert set(corrections["tx_hash"]) == {f"correction:{NEXT}:{late.hash}"}
    warm = corrections[corrections["account"] == f"assets:wallet:{WARM}"]
    assert warm[["token_address", "amount"]].to_numpy().tolist() == [[USDC.address, 70]]
    assert set(corrections["block_number"]) == {late.block}


# --- openings ----------------------------------------------------------------------------------------------------
def accounts(*wallets: tuple[str, str, str]) -> str:
    lines = [f'  - {{name: {name}, chain_id: 1, address: "{at}"{more}}}' for name, at, more in wallets]
    return "wallets:\n" + "\n".join(lines) + "\n"


def opening(after: Mined, usdc: int, wei: int) -> str:
    """The opening behind the block of a transaction."""
    listed = f'{{token: "{USDC.address}", amount: "{usdc}"}}, {{token: native, amount: "{wei}"}}'
    stamp = after.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f", opening: {{block: {after.block}, time: {stamp}, balances: [{listed}]}}"


def held(made: Installation, day: date) -> dict[tuple[str, str], int]:
    """Wallet balances as the postings up to the day say."""
    sums: dict[tuple[str, str], int] = {}
    for row in made.rows(schema.ledger_postings).to_dict("records"):
        if row["date"] <= day and row["account"].startswith("assets:wallet:"):
            at = (row["wallet"], row["token_address"])
            sums[at] = sums.get(at, 0) + row["amount"]
    return sums


FEE = 65_000 * 10**9


def test_with_an_opening_nothing_before_its_block_is_asked_or_booked(chain: Reorganising, install: Install) -> None:
    after = next(tx for tx in chain.sent if tx.name == "late")
    cold = ("cold", COLD, opening(after, 9_100, 10**18 - FEE))
    made = install("state", accounts(cold))
    run(made, FIRST, NEXT, THIRD)
    asked = made.rows(schema.raw_fetches, None)
    starts = [
        json.loads(text).get("startblock")
        for vendor, day, text in zip(asked["vendor"], asked["partition_date"], asked["params_json"], strict=True)
        if vendor == "etherscan" and day == FIRST
    ]
    assert {str(start) for start in starts if start is not None} == {str(after.block + 1)}
    assert made.rows(schema.account_transactions)["block_number"].min() > after.block
    assert held(made, FIRST) == {(COLD, USDC.address): 9_025, (COLD, NATIVE): 10**18 - 3 * FEE}
    whole = install("whole", accounts(("cold", COLD, "")))
    run(whole, FIRST, NEXT, THIRD)
    assert held(made, THIRD) == held(whole, THIRD)
    posted = made.rows(schema.ledger_postings)
    opened = posted[posted["kind"] == "opening"]
    assert set(opened["tx_hash"]) == {f"opening:1:{COLD}"}
    assert set(opened["date"]) == {FIRST}
    assert sum(opened.loc[opened["account"] == "equity:opening", "amount"]) == -(9_100 + 10**18 - FEE)


def test_a_wallet_that_joins_later_with_an_opening_is_booked_on_the_day_of_its_opening(
    chain: Reorganising, install: Install
) -> None:
    made = install("state", accounts(("cold", COLD, "")))
    run(made, FIRST)
    first = made.rows(schema.ledger_postings)
    early = next(tx for tx in chain.sent if tx.name == "early")
    warm = ("warm", WARM, opening(early, 950, 10**18 - FEE))
    (made.folder / "config" / "accounts.yaml").write_text(accounts(("cold", COLD, ""), warm), encoding="utf-8")
    run(made, NEXT, THIRD)
    posted = made.rows(schema.ledger_postings)
    unchanged = posted[posted["date"] == FIRST].reset_index(drop=True).drop(columns="is_pending")
    pd.testing.assert_frame_equal(unchanged, first.drop(columns="is_pending"))
    assert posted["corrects"].isna().all(), "what came from it before was capital, and stays capital"
    assert held(made, THIRD)[WARM, USDC.address] == 950 - 3 + 1
    run(made, FIRST)
    assert set(made.rows(schema.policy_snapshot, FIRST)["date"]) == {FIRST}
    assert (WARM, USDC.address) not in held(made, FIRST), "the day before does not know what comes"


def test_a_day_asks_for_the_newest_block_of_each_chain_once_and_says_how_many_calls_it_takes(
    chain: Reorganising, install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    wallets = (("cold", COLD, ""), ("warm", WARM, ""), ("far", COLD, ""))
    made = install("state", accounts(*wallets).replace("far, chain_id: 1", "far, chain_id: 10"))
    with caplog.at_level("INFO", logger="defiyield_assets.orchestration.resources"):
        run(made, FIRST)
    asked = [json.loads(text) for text in made.rows(schema.raw_fetches)["params_json"]]
    newest = [params["chainid"] for params in asked if params.get("action") == "eth_blockNumber"]
    assert sorted(map(str, newest)) == ["1", "10"]
    assert len(asked) == 2 + 3 * len(wallets)
    assert "11 calls to etherscan" in caplog.text


def test_balances_of_a_wallet_on_another_chain_are_those_of_that_chain(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    far = accounts(("far", COLD, "")).replace("chain_id: 1", "chain_id: 10")
    made = install("state", far)
    asked: list[tuple[str, str]] = []

    def answer(_chain: object, _stamp: datetime, params: dict[str, str]) -> dict[str, str]:
        asked.append((params["chainid"], params["action"]))
        return {"status": "1", "message": "OK", "result": "5" if params["action"] == "balance" else "0"}

    monkeypatch.setattr(chain_answers, "etherscan", answer)
    assert book(made, FIRST, [policy_snapshot, chain_balances]).success
    (row,) = made.rows(schema.chain_balances).to_dict("records")
    assert (row["chain_id"], row["wallet"], row["token_address"], row["balance"]) == (10, COLD, NATIVE, 5)
    assert row["source"] == "etherscan"
    assert {chain_id for chain_id, _ in asked} == {"10"}
