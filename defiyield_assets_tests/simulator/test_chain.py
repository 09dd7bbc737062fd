"""The chain executes plans exactly, wholly or not at all, and knows every unit."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.days import end_of, market_stamp
from defiyield_assets.domain.ledger.rates import accrue
from defiyield_assets.domain.policy import Token
from defiyield_assets.errors import ConfigurationError, PermanentError
from defiyield_assets.simulator import chain_answers
from defiyield_assets.simulator import chain_transactions as tx
from defiyield_assets.simulator.blocks import EPOCH, FIRST_BLOCK, block_at
from defiyield_assets.simulator.chain import ChainConflict, PlanRejected, SimulatedChain, execution_start
from defiyield_assets.simulator.chain_plan import ChainState
from defiyield_assets.simulator.chain_records import NATIVE, ROUTER, ZERO_ADDRESS, ChainPool, ChainWorld, Transaction
from defiyield_assets_tests.simulator.asking import plan

USDC = Token("USDC", "Ethereum", "0x" + "a" * 40, 6, "Circle")
DAI = Token("DAI", "Ethereum", "0x" + "b" * 40, 18, "Sky")
WARM, COLD = "0x" + "1" * 40, "0x" + "2" * 40
LEND = ChainPool("lend-usdc", "lend", (USDC.address,), "USDC")
PAIR = ChainPool("pair", "liquidity", (USDC.address, DAI.address), "USDC-DAI")
WORLD = ChainWorld(
    wallets=frozenset({WARM, COLD}),
    tokens={USDC.address: USDC, DAI.address: DAI},
    pools={pool.pool_id: pool for pool in (LEND, PAIR)},
)
DAY = date(2025, 6, 3)
FOUNDED = datetime(2025, 6, 1, 9, tzinfo=UTC)
GAS_PRICE = 2 * 10**9
MILLION = 10**6 * 10**6
APY = 0.07

Open = Callable[..., SimulatedChain]


def genesis(ether: int = 10**18) -> list[Transaction]:
    return [
        tx.send_ether(FOUNDED, tx.OUTSIDE, WARM, ether),
        tx.send_tokens(FOUNDED + timedelta(seconds=12), tx.OUTSIDE, WARM, (USDC, MILLION)),
    ]


@pytest.fixture
def open_chain(tmp_path: Path) -> Open:
    """Opens the test's chain file; again with the same arguments is the same chain."""

    def open_it(name: str = "chain.sqlite", ether: int = 10**18) -> SimulatedChain:
        return SimulatedChain(tmp_path / name, genesis=genesis(ether), world=WORLD, apy_on=lambda _pool, _day: APY)

    return open_it


def deposit(amount: int, **other: Any) -> dict[str, Any]:
    return {"step_type": "DEPOSIT", "pool_id": LEND.pool_id, "token_in": USDC.address, "amount_in": amount, **other}


def withdraw(amount: int, **other: Any) -> dict[str, Any]:
    return {"step_type": "WITHDRAW", "pool_id": LEND.pool_id, "token_out": USDC.address, "amount_out": amount, **other}


def convert(sold: int, bought: int, token_in: Token = USDC, token_out: Token = DAI) -> dict[str, Any]:
    amounts = {"amount_in": sold, "amount_out": bought}
    return {"step_type": "CONVERT", "token_in": token_in.address, "token_out": token_out.address, **amounts}


def execute(chain: SimulatedChain, *steps: dict[str, Any], day: date = DAY, run_id: str = "run") -> Any:
    return chain.execute_plan(day, run_id, plan(*steps, day=day, wallet=WARM), gas_price_wei=GAS_PRICE)


def balances(chain: SimulatedChain, day: date = DAY + timedelta(days=1), address: str = WARM) -> dict[str, int]:
    return chain.balances(address, market_stamp(day))


def test_a_deposit_is_an_approval_and_one_transaction(open_chain: Open) -> None:
    chain = open_chain()
    receipt = execute(chain, deposit(250_000 * 10**6))
    assert (receipt.status, receipt.n_transactions, receipt.day, receipt.run_id) == ("executed", 2, DAY, "run")
    approval, bought = chain.transactions(end_of(DAY + timedelta(days=1)))[-2:]
    assert approval.time == execution_start(DAY) == datetime(2025, 6, 4, 1, 30, tzinfo=UTC)
    assert bought.time - approval.time == timedelta(seconds=12)
    assert (bought.block - approval.block, approval.gas_used, bought.gas_used) == (1, 50_000, 220_000)
    assert [(t.token, t.sender, t.receiver, t.value) for t in bought.transfers] == [
        (USDC.address, WARM, LEND.contract, 250_000 * 10**6),
        (LEND.share_token, ZERO_ADDRESS, WARM, 250_000 * 10**18),
    ]
    held = balances(chain)
    assert held[USDC.address] == 750_000 * 10**6
    assert held[LEND.share_token] == 250_000 * 10**18
    assert held[NATIVE] == 10**18 - (50_000 + 220_000) * GAS_PRICE


def test_positions_accrue_at_the_end_of_each_day(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(10**6 + 1))
    expected = 10**6 + 1
    assert chain.positions(DAY) == {}
    for offset in range(1, 400):
        expected = accrue(expected, APY)
        assert chain.positions(DAY + timedelta(days=offset)) == {(WARM, LEND.pool_id, USDC.address): expected}


def test_partial_and_full_exit(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(100_000 * 10**6))
    ten = DAY + timedelta(days=10)
    worth = chain.positions(ten)[WARM, LEND.pool_id, USDC.address]
    part = worth // 3
    execute(chain, withdraw(part), day=ten, run_id="part")
    shares = 100_000 * 10**18
    burnt = -(-shares * part * 10**12 // (worth * 10**12))
    assert balances(chain, ten + timedelta(days=1))[LEND.share_token] == shares - burnt
    after = DAY + timedelta(days=11)
    assert chain.positions(after)[WARM, LEND.pool_id, USDC.address] == accrue(worth - part, APY)
    rest = chain.positions(after)[WARM, LEND.pool_id, USDC.address]
    execute(chain, withdraw(rest, is_full_exit=True), day=after, run_id="full")
    held = balances(chain, after + timedelta(days=1))
    assert LEND.share_token not in held
    assert held[USDC.address] == MILLION - 100_000 * 10**6 + part + rest
    assert chain.positions(after + timedelta(days=1)) == {}
    gas = 50_000 + 220_000 + 250_000 + 250_000
    assert held[NATIVE] == 10**18 - gas * GAS_PRICE


def test_a_full_exit_returns_everything_whatever_was_planned(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(10**9))
    day = DAY + timedelta(days=1)
    worth = chain.positions(day)[WARM, LEND.pool_id, USDC.address]
    execute(chain, withdraw(worth - 5, is_full_exit=True), day=day, run_id="leave")
    held = balances(chain, day + timedelta(days=1))
    assert held[USDC.address] == MILLION - 10**9 + worth
    assert LEND.share_token not in held
    assert chain.positions(day + timedelta(days=1)) == {}


def test_a_failed_transaction_moves_nothing_but_its_gas(tmp_path: Path) -> None:
    gone = replace(tx.send_tokens(FOUNDED + timedelta(hours=1), WARM, COLD, (USDC, 5)), value=7, is_success=False)
    chain = SimulatedChain(
        tmp_path / "chain.sqlite", genesis=[*genesis(), gone], world=WORLD, apy_on=lambda _pool, _day: APY
    )
    stamp = market_stamp(DAY)
    assert chain.balances(WARM, stamp) == {NATIVE: 10**18 - gone.fee_wei, USDC.address: MILLION}
    for wallet in (WARM, COLD):
        assert replayed(chain, stamp, wallet) == chain.balances(wallet, stamp)
    operations = chain_answers.address_history(chain, stamp, COLD, {"limit": "1000"}, {})
    assert operations == {"operations": []}


def test_a_second_deposit_mints_at_the_grown_rate(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(100_000 * 10**6))
    later = DAY + timedelta(days=30)
    worth = chain.positions(later)[WARM, LEND.pool_id, USDC.address]
    execute(chain, deposit(50_000 * 10**6), day=later, run_id="more")
    first = 100_000 * 10**18
    assert balances(chain, later + timedelta(days=1))[LEND.share_token] == first + 50_000 * 10**18 * first // (
        worth * 10**12
    )


def test_conversion_and_two_token_deposit_share_one_transaction_each(open_chain: Open) -> None:
    chain = open_chain()
    legs = [
        deposit(20_000 * 10**6, pool_id=PAIR.pool_id, seq=2),
        deposit(20_000 * 10**18, pool_id=PAIR.pool_id, token_in=DAI.address, seq=2, leg=1),
    ]
    receipt = execute(chain, convert(20_010 * 10**6, 20_000 * 10**18), *legs)
    assert receipt.n_transactions == 5, "approve, swap; approve, approve, deposit"
    sent = chain.transactions(end_of(DAY + timedelta(days=1)))[-5:]
    assert [t.gas_used for t in sent] == [50_000, 180_000, 50_000, 50_000, 300_000]
    assert sent[1].receiver == ROUTER
    assert len(sent[-1].transfers) == 3
    held = balances(chain)
    assert DAI.address not in held
    assert held[PAIR.share_token] == 40_000 * 10**18
    assert {key[2]: value for key, value in chain.positions(DAY + timedelta(days=1)).items()} == {
        USDC.address: accrue(20_000 * 10**6, APY),
        DAI.address: accrue(20_000 * 10**18, APY),
    }


def test_holding_needs_no_transaction(open_chain: Open) -> None:
    chain = open_chain()
    receipt = execute(chain, {"step_type": "HOLD", "pool_id": LEND.pool_id, "token_in": USDC.address, "amount_in": 1})
    assert (receipt.status, receipt.n_transactions) == ("nothing_to_do", 0)
    assert execute(chain, day=DAY + timedelta(days=1), run_id="empty").status == "nothing_to_do"


def test_the_same_run_again_changes_nothing(open_chain: Open) -> None:
    chain = open_chain()
    first = execute(chain, deposit(10**9))
    before = chain.transactions(end_of(DAY + timedelta(days=9)))
    execute(chain, deposit(5), day=DAY + timedelta(days=1), run_id="next day")
    again = execute(open_chain(), deposit(10**9))
    assert again == first
    assert chain.transactions(end_of(DAY + timedelta(days=1))) == before


def test_another_plan_of_the_day_replaces_the_first(open_chain: Open) -> None:
    chain, other = open_chain(), open_chain("other.sqlite")
    execute(chain, deposit(10**9), run_id="first")
    assert chain.positions(DAY + timedelta(days=3))
    execute(chain, deposit(7 * 10**9), run_id="second")
    execute(other, deposit(7 * 10**9), run_id="second")
    until = end_of(DAY + timedelta(days=3))
    assert chain.transactions(until) == other.transactions(until)
    assert chain.positions(DAY + timedelta(days=3)) == other.positions(DAY + timedelta(days=3))
    assert [receipt.run_id for receipt in chain.executions()] == ["second"]


def test_the_past_is_not_rewritten_under_later_plans(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(10**9), run_id="first")
    execute(chain, deposit(10**9), day=DAY + timedelta(days=1), run_id="next")
    for day in (DAY, DAY - timedelta(days=1)):
        with pytest.raises(ChainConflict, match=f"defiyield simulator reset --from {day}") as caught:
            execute(chain, deposit(1), day=day, run_id="late")
        assert isinstance(caught.value, ConfigurationError)
    with pytest.raises(ChainConflict):
        execute(chain, deposit(1), day=DAY + timedelta(days=2), run_id="next")
    assert chain.reset(DAY + timedelta(days=1)) == 1
    assert execute(chain, deposit(1), run_id="late").status == "executed"
    assert chain.reset(DAY) == 1
    assert balances(chain) == {NATIVE: 10**18, USDC.address: MILLION}


@pytest.mark.parametrize(
    ("step", "why"),
    [
        (deposit(MILLION), "needs 1000000000000 base units of USDC, the wallet has 999999999990"),
        (convert(MILLION + 1, 5), "the wallet has"),
        (convert(5, 5, DAI, USDC), "the wallet has 0"),
        (convert(5, 5, USDC, USDC), "into itself"),
        (withdraw(11), "which holds 10 for us"),
        (deposit(5, pool_id="nobody"), "knows no pool"),
        (deposit(5, token_in=DAI.address), "does not take DAI"),
        (deposit(5, token_in="0x" + "9" * 40), "knows no token"),
        (deposit(0), "positive integer"),
        (deposit(-5), "positive integer"),
        (deposit(5, amount_in=5.0), "positive integer"),
        (deposit(5, wallet="0x" + "8" * 40), "not one of our wallets"),
        (deposit(5, step_type="STEAL"), "unknown step type"),
    ],
)
def test_an_impossible_plan_is_rejected_whole(open_chain: Open, step: dict[str, Any], why: str) -> None:
    chain = open_chain()
    execute(chain, deposit(10**9), run_id="first")
    before = chain.transactions(end_of(DAY + timedelta(days=9)))
    with pytest.raises(PlanRejected, match=why) as caught:
        execute(chain, deposit(10), step, run_id="second")
    assert isinstance(caught.value, PermanentError)
    assert chain.transactions(end_of(DAY + timedelta(days=9))) == before, "nothing happened, the first plan stands"
    assert [receipt.run_id for receipt in chain.executions()] == ["first"]


def test_more_than_the_position_is_rejected(open_chain: Open) -> None:
    chain = open_chain()
    execute(chain, deposit(10**9))
    day = DAY + timedelta(days=1)
    worth = chain.positions(day)[WARM, LEND.pool_id, USDC.address]
    with pytest.raises(PlanRejected, match=f"which holds {worth} for us"):
        execute(chain, withdraw(worth + 1, is_full_exit=True), day=day, run_id="next")


def test_gas_that_ether_cannot_pay_for_is_rejected(open_chain: Open) -> None:
    enough = 270_000 * GAS_PRICE
    assert execute(open_chain("enough.sqlite", ether=enough), deposit(5)).status == "executed"
    with pytest.raises(PlanRejected, match="short of 1 wei"):
        execute(open_chain("short.sqlite", ether=enough - 1), deposit(5))


def test_another_market_does_not_take_over_the_file(open_chain: Open) -> None:
    open_chain()
    with pytest.raises(ConfigurationError, match="founded by another market"):
        open_chain(ether=5)


def test_a_file_that_is_no_chain_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "chain.sqlite"
    path.write_bytes(b"this is not a database, though it is long enough to look like one" * 20)
    with pytest.raises(ConfigurationError, match="not a usable chain file"):
        SimulatedChain(path, genesis=genesis(), world=WORLD, apy_on=lambda _pool, _day: APY)


def test_another_process_sees_the_plan(open_chain: Open) -> None:
    reader, writer = open_chain(), open_chain()
    assert reader.positions(DAY + timedelta(days=2)) == {}
    execute(writer, deposit(10**9))
    assert reader.positions(DAY + timedelta(days=2)) == writer.positions(DAY + timedelta(days=2)) != {}


def test_hashes_and_blocks_depend_on_content_and_time_only(open_chain: Open) -> None:
    for name in ("one.sqlite", "two.sqlite"):
        execute(open_chain(name), deposit(10**9))
    one, two = (open_chain(name).transactions(end_of(DAY + timedelta(days=1))) for name in ("one.sqlite", "two.sqlite"))
    assert [t.hash for t in one] == [t.hash for t in two]
    assert len({t.hash for t in one}) == len(one)
    assert replace(one[-1], gas_price_wei=GAS_PRICE + 1).hash != one[-1].hash
    assert block_at(EPOCH) == FIRST_BLOCK
    assert block_at(EPOCH + timedelta(days=1)) == FIRST_BLOCK + 7_200
    assert block_at(EPOCH + timedelta(seconds=11)) == FIRST_BLOCK


# --- the vendors' views of the chain agree with its balances ---------------------------------------------------------


def replayed(chain: SimulatedChain, at: datetime, wallet: str) -> dict[str, int]:
    """Balances by replaying txlist, tokentx and txlistinternal, as any client could."""

    def rows(action: str) -> list[dict[str, str]]:
        result = chain_answers.etherscan(chain, at, {"module": "account", "action": action, "address": wallet})[
            "result"
        ]
        assert isinstance(result, list)
        return result

    totals: dict[str, int] = {}

    def book(row: dict[str, str], token: str) -> None:
        value = int(row["value"])
        totals[token] = totals.get(token, 0) + value * (row["to"] == wallet) - value * (row["from"] == wallet)

    for row in rows("txlist"):
        if row["from"] == wallet:
            totals[NATIVE] = totals.get(NATIVE, 0) - int(row["gasUsed"]) * int(row["gasPrice"])
        if row["isError"] == "0":
            book(row, NATIVE)
    for row in rows("tokentx"):
        book(row, row["contractAddress"])
    for row in rows("txlistinternal"):
        book(row, NATIVE)
    return {token: value for token, value in totals.items() if value}


amounts = st.integers(min_value=1, max_value=2 * 10**11)
moves = st.one_of(
    st.tuples(st.just("deposit"), amounts),
    st.tuples(st.just("withdraw"), st.floats(0.01, 1.0)),
    st.tuples(st.just("full exit"), st.none()),
    st.tuples(st.just("convert"), amounts),
    st.tuples(st.just("pair"), amounts),
)


def steps_for(chain: SimulatedChain, day: date, kind: str, size: Any) -> list[dict[str, Any]]:
    """A plan of that kind that the chain can execute, or none."""
    held = chain.balances(WARM, end_of(day))
    worth = chain.positions(day).get((WARM, LEND.pool_id, USDC.address), 0)
    if kind == "deposit" and held.get(USDC.address, 0) >= size:
        return [deposit(size)]
    if kind == "withdraw" and int(worth * size) >= 1:
        return [withdraw(int(worth * size))]
    if kind == "full exit" and worth:
        return [withdraw(worth, is_full_exit=True)]
    if kind == "convert" and held.get(USDC.address, 0) >= size:
        return [convert(size, size * 10**12 * 9_996 // 10_000)]
    if kind == "pair" and held.get(USDC.address, 0) >= size and held.get(DAI.address, 0) >= size * 10**12:
        second = deposit(size * 10**12, pool_id=PAIR.pool_id, token_in=DAI.address, seq=1, leg=1)
        return [deposit(size, pool_id=PAIR.pool_id), second]
    return []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(moves, min_size=1, max_size=8))
def test_replaying_the_vendors_answers_gives_the_balances(tmp_path: Path, days: list[tuple[str, Any]]) -> None:
    path = tmp_path / "chain.sqlite"
    path.unlink(missing_ok=True)
    chain = SimulatedChain(path, genesis=genesis(), world=WORLD, apy_on=lambda _pool, _day: APY)
    for offset, (kind, size) in enumerate(days):
        day = DAY + timedelta(days=offset)
        execute(chain, *steps_for(chain, day, kind, size), day=day, run_id=f"run {offset}")
        stamp = market_stamp(day + timedelta(days=1))
        balance = chain.balances(WARM, stamp)
        assert replayed(chain, stamp, WARM) == balance
        assert all(value > 0 for value in balance.values())
        info = chain_answers.address_info(chain, stamp, WARM, {}, None)
        told = {token["tokenInfo"]["address"]: int(token["rawBalance"]) for token in info["tokens"]}
        assert told | {NATIVE: int(info["ETH"]["rawBalance"])} == balance
        positions = chain.positions(day + timedelta(days=1))
        for pool in (LEND, PAIR):
            has_position = any(key[1] == pool.pool_id for key in positions)
            assert (pool.share_token in balance) == has_position, "shares exist exactly while a position does"


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(days=st.lists(moves, min_size=1, max_size=6))
def test_nothing_is_created_or_lost(tmp_path: Path, days: list[tuple[str, Any]]) -> None:
    """Over all addresses each token sums to zero; only gas leaves; without yield pools hold what we put in."""
    path = tmp_path / "chain.sqlite"
    path.unlink(missing_ok=True)
    chain = SimulatedChain(path, genesis=genesis(), world=WORLD, apy_on=lambda _pool, _day: 0.0)
    for offset, (kind, size) in enumerate(days):
        day = DAY + timedelta(days=offset)
        execute(chain, *steps_for(chain, day, kind, size), day=day, run_id=f"run {offset}")
    last = DAY + timedelta(days=len(days))
    transactions = chain.transactions(end_of(last))
    state = ChainState()
    for transaction in transactions:
        state.apply(transaction)
    sums: dict[str, int] = {}
    for (_, token), value in state.balances.items():
        sums[token] = sums.get(token, 0) + value
    assert sums.pop(NATIVE) == -sum(transaction.fee_wei for transaction in transactions)
    assert set(sums.values()) <= {0}
    # Without yield, what the pools hold for us is what their contracts hold.
    for pool in (LEND, PAIR):
        for token in pool.tokens:
            held = chain.positions(last).get((WARM, pool.pool_id, token), 0)
            assert state.balance(pool.contract, token) == held


def test_steps_may_come_with_nans_and_in_any_order(open_chain: Open) -> None:
    chain = open_chain()
    frame = plan(convert(10**9, 999 * 10**18), deposit(10**9), day=DAY, wallet=WARM.upper().replace("X", "x"))
    frame.loc[1, ["token_out", "amount_out"]] = float("nan")
    receipt = chain.execute_plan(DAY, "run", frame.iloc[::-1], gas_price_wei=GAS_PRICE)
    assert receipt.n_transactions == 4
    assert balances(chain)[DAI.address] == 999 * 10**18
