"""Lots: what every unit cost, which lots a disposal takes, and that nothing is lost, whatever the day is split into.

Not here: which tables the assets write (orchestration/test_lots.py).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.ledger.accounts import NATIVE
from defiyield_assets.domain.ledger.lot_legs import TokenKey, split, transaction_of
from defiyield_assets.domain.ledger.lots import LotBook, asset_balances, by_day, fold
from defiyield_assets.domain.ledger.postings import build_postings
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, OPEN_LOTS, REALISED_GAINS, make_frame
from defiyield_assets.domain.ledger.trial_balance import as_of
from defiyield_assets.domain.policy import LotChoice
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.ledger.bean_check import trial_balances
from defiyield_assets_tests.domain.ledger.facts import (
    BANK,
    COLD,
    CRV,
    DAI,
    FAKE_USDC,
    GAS_WEI,
    ROUTER,
    START,
    STRANGER,
    USDC,
    VAULT,
    VAULT_SHARE,
    WARM,
    Chain,
    burn,
    fund,
    golden_chain,
    make_contracts,
    make_policy,
    make_prices,
    mint,
    usd,
)

POLICY, CONTRACTS = make_policy(), make_contracts()
EMPTY_LOTS, EMPTY_GAINS = make_frame(OPEN_LOTS, []), make_frame(REALISED_GAINS, [])


def is_tracked(chain_id: int, token: str) -> bool:
    """USDC, DAI and ETH of chain 1."""
    return chain_id == 1 and token in {USDC, DAI, NATIVE}


def day(offset: int) -> date:
    """A day of the tests' chain."""
    return START + timedelta(days=offset)


def booked(chain: Chain, **closes: Sequence[float]) -> pd.DataFrame:
    """Postings of a chain, valued at closes by symbol (1 for dollars, 2,000 for ETH)."""
    return build_postings(chain.frame(), policy=POLICY, contracts=CONTRACTS, prices=make_prices(POLICY, **closes))


def books(postings: pd.DataFrame, **options: Any) -> tuple[LotBook, pd.DataFrame]:
    """A book that was told everything, and the gains."""
    book = LotBook(is_tracked, **options)
    return book, fold(book, by_day(postings))


def money(text: str) -> Decimal:
    """Dollars."""
    return Decimal(text)


def lots_of(book: LotBook, token: str, at: date = START) -> list[tuple[date, str, int, Decimal | None]]:
    """Open lots of a token, oldest first: day, why, units, cost."""
    frame = book.open_lots(at)
    own = frame[frame["token_address"] == token].sort_values(["acquired_on", "lot_id"])
    return list(zip(own["acquired_on"], own["acquired_by"], own["amount"], own["cost_usd"], strict=True))


def taken(gains: pd.DataFrame, token: str) -> list[tuple[Any, ...]]:
    """Gains of a token: why it went, units, proceeds, cost, gain."""
    own = gains[gains["token_address"] == token].sort_values(["date", "acquired_on", "lot_id"])
    columns = ("disposed_by", "amount", "proceeds_usd", "cost_usd", "gain_usd")
    return list(zip(*(own[name] for name in columns), strict=True))


# --- what acquires and what disposes ----------------------------------------------------------------------------------
def test_moves_between_wallets_and_into_pools_dispose_of_nothing() -> None:
    book, gains = books(booked(golden_chain()))
    assert lots_of(book, USDC) == [(START, "external_in", usd(10_000), money("10000"))]
    assert set(gains["token_address"]) == {NATIVE}
    assert set(gains["disposed_by"]) == {"gas"}
    assert sum(gains["amount"]) == 4 * GAS_WEI
    assert list(book.open_lots(START).columns) == [column.name for column in schema.open_lots.columns]
    assert list(gains.columns) == [column.name for column in schema.realised_gains.columns]


def test_oldest_units_go_first_across_wallets() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, COLD, usd(100)), day=0)
    chain.send((USDC, BANK, WARM, usd(100)), day=1)
    chain.send((USDC, WARM, BANK, usd(100)), day=2, sender=WARM)
    chain.send((USDC, COLD, BANK, usd(50)), day=2, sender=COLD)
    book, gains = books(booked(chain, USDC=[0.9, 1.1, 1.0]))
    assert taken(gains, USDC) == [
        ("external_out", usd(100), money("100"), money("90"), money("10")),
        ("external_out", usd(50), money("50"), money("55"), money("-5")),
    ]
    assert lots_of(book, USDC) == [(day(1), "external_in", usd(50), money("55"))]
    assert set(gains["method"]) == {"fifo"}


def test_every_way_of_acquiring_and_disposing_has_its_name() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, WARM, usd(1_000)))
    chain.send((USDC, WARM, VAULT, usd(500)), mint(VAULT_SHARE, WARM, 10**18), sender=WARM)
    chain.send((USDC, VAULT, WARM, usd(600)), burn(VAULT_SHARE, WARM, 10**18), sender=WARM, day=1)
    chain.send((USDC, WARM, ROUTER, usd(100)), (DAI, ROUTER, WARM, 99 * 10**18), sender=WARM, day=2)
    chain.send((DAI, VAULT, WARM, 5 * 10**18), sender=WARM, day=3)
    chain.send(
        (USDC, WARM, ROUTER, usd(10)),
        (DAI, ROUTER, WARM, 9 * 10**18),
        (NATIVE, WARM, ROUTER, 10**15),
        sender=WARM,
        day=4,
    )
    book, gains = books(booked(chain))
    assert {why for _, why, _, _ in lots_of(book, USDC)} == {"external_in", "yield"}
    assert [(why, units) for _, why, units, _ in lots_of(book, DAI)] == [
        ("swap", 99 * 10**18),
        ("reward", 5 * 10**18),
        ("swap", 9 * 10**18),
    ]
    assert set(gains["disposed_by"]) == {"gas", "swap", "conversion_cost"}
    assert sum(gains.loc[gains["disposed_by"] == "conversion_cost", "amount"]) == 10**15


def test_a_loss_in_a_pool_gives_units_away_at_their_value() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, WARM, usd(500)))
    chain.send((USDC, WARM, VAULT, usd(500)), mint(VAULT_SHARE, WARM, 10**18), sender=WARM)
    chain.send((USDC, VAULT, WARM, usd(400)), burn(VAULT_SHARE, WARM, 10**18), sender=WARM, day=1)
    book, gains = books(booked(chain, USDC=[1.0, 1.25]))
    assert taken(gains, USDC) == [("yield", usd(100), money("125"), money("100"), money("25"))]
    assert lots_of(book, USDC) == [(START, "external_in", usd(400), money("400"))]


def test_change_that_comes_back_was_not_given_away() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, WARM, usd(100)))
    chain.send(
        (USDC, WARM, ROUTER, usd(100)), (USDC, ROUTER, WARM, usd(2)), (DAI, ROUTER, WARM, 97 * 10**18), sender=WARM
    )
    _, gains = books(booked(chain))
    assert taken(gains, USDC) == [("swap", usd(98), money("98"), money("98"), money("0"))]


def test_only_trusted_tokens_have_lots() -> None:
    chain = golden_chain()
    chain.send((FAKE_USDC, STRANGER, COLD, usd(777)))
    chain.send((CRV, VAULT, WARM, 10**18))
    book, gains = books(booked(chain))
    assert set(book.open_lots(START)["token_address"]) == {USDC, NATIVE}
    assert set(gains["token_address"]) == {NATIVE}


def test_within_a_block_what_comes_is_there_before_what_goes() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, WARM, BANK, usd(5)), block=500, sender=WARM)
    chain.send((USDC, BANK, WARM, usd(5)), block=500)
    book, gains = books(booked(chain))
    assert taken(gains, USDC) == [("external_out", usd(5), money("5"), money("5"), money("0"))]
    assert lots_of(book, USDC) == []


def test_what_is_not_known_is_null_and_never_a_number() -> None:
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, COLD, usd(100)))
    chain.send((USDC, COLD, BANK, usd(40)), day=1, sender=COLD)
    postings = booked(chain)
    postings.loc[postings["date"] == START, "valued_usd"] = None
    book, gains = books(postings)
    assert lots_of(book, USDC) == [(START, "external_in", usd(60), None)]
    assert taken(gains, USDC) == [("external_out", usd(40), money("40"), None, None)]


def test_a_token_that_was_worth_nothing_when_it_came_has_no_known_cost() -> None:
    """It was untrusted then, so its postings say 0; that is no price."""
    chain = Chain()
    chain.send((FAKE_USDC, STRANGER, COLD, usd(9)))
    book = LotBook(lambda _, token: token == FAKE_USDC)
    fold(book, by_day(booked(chain)))
    assert lots_of(book, FAKE_USDC) == [(START, "external_in", usd(9), None)]


# --- exact parts ------------------------------------------------------------------------------------------------------
@given(
    units=st.integers(1, 2**256 - 1),
    cost=st.decimals(min_value=0, max_value=10**30, places=30, allow_nan=False),
    data=st.data(),
)
def test_parts_of_a_cost_add_up_to_it_and_are_proportional(units: int, cost: Decimal, data: st.DataObject) -> None:
    part = data.draw(st.integers(1, units))
    one, rest = split(cost, part, units)
    assert one is not None
    assert rest is not None
    assert Fraction(one) + Fraction(rest) == Fraction(cost)
    exact = Fraction(cost) * part / units
    assert exact - Fraction(1, 10**18) < Fraction(one) <= exact
    assert rest >= 0
    assert split(cost, units, units) == (cost, 0)
    assert split(None, part, units) == (None, None)


def test_the_last_units_take_the_rest_of_the_cost() -> None:
    """A dollar over three units: thirds are rounded down, and nothing of the dollar is lost."""
    chain = Chain()
    fund(chain)
    chain.send((USDC, BANK, COLD, 3))
    for _ in range(3):
        chain.send((USDC, COLD, BANK, 1), day=1, sender=COLD)
    book, gains = books(booked(chain, USDC=[1_000_000 / 3]))
    own = gains[gains["token_address"] == USDC]
    whole = Decimal(repr(1_000_000 / 3)) * 3 / 10**6
    assert sum(own["cost_usd"]) == whole
    assert lots_of(book, USDC) == []


# --- specific identification ------------------------------------------------------------------------------------------
def three_lots() -> tuple[pd.DataFrame, list[str], str]:
    """100, 200 and 300 USDC on three days at 0.9, 1.0 and 1.1, and 250 that go on the fourth; with the lots' ids."""
    chain = Chain()
    fund(chain)
    ids = [f"{chain.send((USDC, BANK, COLD, usd(100 * n)), day=n - 1)}:token:0:1" for n in (1, 2, 3)]
    gone = chain.send((USDC, COLD, BANK, usd(250)), day=3, sender=COLD)
    return booked(chain, USDC=[0.9, 1.0, 1.1, 1.0]), ids, gone


def test_named_lots_are_taken_in_their_order() -> None:
    postings, ids, gone = three_lots()
    choice = LotChoice(gone, USDC, (ids[2], ids[0]))
    book, gains = books(postings, method="specific", choices=(choice,))
    own = gains[gains["token_address"] == USDC]
    assert list(zip(own["lot_id"], own["amount"], own["cost_usd"], own["method"], strict=True)) == [
        (ids[2], usd(250), money("275"), "specific")
    ]
    assert [units for _, _, units, _ in lots_of(book, USDC)] == [usd(100), usd(200), usd(50)]


def test_what_nobody_chose_for_goes_first_in_first_out() -> None:
    postings, ids, _ = three_lots()
    elsewhere = LotChoice("0x" + "ab" * 32, USDC, (ids[2],))
    for options in ({"method": "specific", "choices": (elsewhere,)}, {"method": "fifo"}):
        _, gains = books(postings, **options)
        own = gains[gains["token_address"] == USDC].sort_values("acquired_on")
        assert list(own["amount"]) == [usd(100), usd(150)]
        assert list(own["cost_usd"]) == [money("90"), money("150")]
        assert set(own["method"]) == {"fifo"}


def test_choices_count_for_nothing_under_fifo() -> None:
    postings, ids, gone = three_lots()
    _, gains = books(postings, method="fifo", choices=(LotChoice(gone, USDC, (ids[2],)),))
    assert ids[2] not in set(gains["lot_id"])


@pytest.mark.parametrize(
    ("lots", "wanted"),
    [
        ((0, "0xnothing:token:0:1"), "lot 0xnothing:token:0:1 is not open then; open lots: "),
        ((0,), "hold 100000000 base units, but 250000000 go; name lots of 150000000 more"),
    ],
)
def test_lots_that_are_unknown_or_do_not_suffice_are_one_clear_error(lots: tuple[Any, ...], wanted: str) -> None:
    postings, ids, gone = three_lots()
    named = tuple(ids[at] if isinstance(at, int) else at for at in lots)
    with pytest.raises(ConfigurationError, match=f"accounts.yaml: lot_choices: {USDC} in {gone}.*{wanted}"):
        books(postings, method="specific", choices=(LotChoice(gone, USDC, named),))


def test_a_choice_covers_gas_and_payment_of_one_transaction() -> None:
    chain = Chain()
    ids = [f"{chain.send((NATIVE, BANK, COLD, 10**18), day=n)}:native:0:1" for n in (0, 1)]
    gone = chain.send((NATIVE, COLD, BANK, 10**18 - GAS_WEI), day=2, sender=COLD)
    _, gains = books(booked(chain), method="specific", choices=(LotChoice(gone, NATIVE, (ids[1],)),))
    assert set(gains["lot_id"]) == {ids[1]}
    assert sum(gains["amount"]) == 10**18


# --- corrections ------------------------------------------------------------------------------------------------------
def posting(at: int, tx: str, account: str, amount: int, **more: Any) -> tuple[Any, ...]:
    """A USDC posting on a day, valued at a dollar (or at `close`)."""
    close = more.get("close", Decimal(1))
    when = datetime(2025, 6, 2, 12, tzinfo=UTC) + timedelta(days=more.get("block_day", at))
    values = {
        "chain_id": 1,
        "tx_hash": tx,
        "kind": "correction" if "corrects" in more else "token",
        "ordinal": 0,
        "leg": more.get("leg", 0),
        "date": day(at),
        "block_number": 100 + more.get("block_day", at),
        "block_time": when,
        "account": account,
        "token_address": USDC,
        "amount": amount,
        "decimals": 6,
        "valued_usd": Decimal(amount) / 10**6 * close,
        "classification": more.get("what", "external_in"),
        "is_pending": False,
        "corrects": more.get("corrects"),
    }
    return tuple(values.get(name) for name in LEDGER_POSTINGS)


def transaction(at: int, tx: str, *legs: tuple[str, int], **more: Any) -> list[tuple[Any, ...]]:
    """Legs (account, amount) of a transaction, numbered."""
    return [posting(at, tx, account, amount, leg=leg, **more) for leg, (account, amount) in enumerate(legs)]


WALLET, POOL, OUTSIDE = f"assets:wallet:{WARM}", "assets:pool:vault", f"equity:external:{BANK}"
WHAT = "equity:unexplained"


def unlisted_pool() -> list[tuple[Any, ...]]:
    """Two lots of 100 at 0.90 and 1.10; 150 into a pool that nobody listed, at 1.00."""
    return [
        *transaction(0, "0xin1", (OUTSIDE, -usd(100)), (WALLET, usd(100)), close=money("0.9")),
        *transaction(1, "0xin2", (OUTSIDE, -usd(100)), (WALLET, usd(100)), close=money("1.1")),
        *transaction(2, "0xdep", (WALLET, -usd(150)), (WHAT, usd(150)), what="unlisted_deposit"),
    ]


def listed(at: int, units: int = 150) -> list[tuple[Any, ...]]:
    """The correction that finds the pool."""
    return transaction(
        at,
        f"correction:{day(at)}:0xdep",
        (WHAT, -usd(units)),
        (POOL, usd(units)),
        corrects="0xdep",
        block_day=2,
        what="deposit",
        close=money("1.3"),
    )


def frame_of(rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    """`ledger_postings`."""
    return make_frame(LEDGER_POSTINGS, rows)


def test_a_disposal_that_was_none_goes_back_into_its_lots() -> None:
    """As if the pool had been listed all along: the lots, their costs, and no gain in sum."""
    before, gains = books(frame_of(unlisted_pool()))
    assert lots_of(before, USDC) == [(day(1), "external_in", usd(50), money("55"))]
    assert sum(gains["gain_usd"]) == money("150") - money("90") - money("55")
    book, gains = books(frame_of([*unlisted_pool(), *listed(4)]))
    assert lots_of(book, USDC) == [
        (day(0), "external_in", usd(100), money("90")),
        (day(1), "external_in", usd(100), money("110")),
    ]
    for column in ("amount", "proceeds_usd", "cost_usd", "gain_usd"):
        assert sum(gains[column]) == 0
    back = gains[gains["date"] == day(4)]
    assert set(back["disposal_id"]) == {f"correction:{day(4)}:0xdep:correction:0:0"}
    assert (back["amount"] < 0).all()


def test_a_part_goes_back_to_the_youngest_lot_first() -> None:
    book, gains = books(frame_of([*unlisted_pool(), *listed(4, 60)]))
    assert lots_of(book, USDC) == [
        (day(0), "external_in", usd(10), money("9")),
        (day(1), "external_in", usd(100), money("110")),
    ]
    again, _ = books(frame_of([*unlisted_pool(), *listed(4, 60), *listed(5, 90)]))
    assert [units for _, _, units, _ in lots_of(again, USDC)] == [usd(100), usd(100)]
    assert sum(gains["amount"]) == usd(90)


def test_an_acquisition_that_was_none_leaves_its_lot() -> None:
    """A withdrawal that nobody could explain was basis but for 5 of yield: the lot shrinks to these."""
    rows = [
        *transaction(0, "0xwd", (WHAT, -usd(105)), (WALLET, usd(105)), what="unlisted_withdrawal"),
        *transaction(
            1,
            f"correction:{day(1)}:0xwd",
            (WHAT, usd(105)),
            (POOL, -usd(100)),
            ("income:yield:vault", -usd(5)),
            corrects="0xwd",
            block_day=0,
            what="withdrawal",
        ),
    ]
    book, gains = books(frame_of(rows))
    assert lots_of(book, USDC) == [(day(0), "yield", usd(5), money("5"))]
    assert gains.empty


def test_a_correction_that_only_finds_another_word_moves_no_lot() -> None:
    rows = [
        *transaction(0, "0xin", (OUTSIDE, -usd(7)), (WALLET, usd(7))),
        *transaction(
            3, f"correction:{day(3)}:0xin", (OUTSIDE, usd(7)), ("income:rewards", -usd(7)), corrects="0xin", block_day=0
        ),
    ]
    book, gains = books(frame_of(rows))
    assert lots_of(book, USDC) == [(day(0), "reward", usd(7), money("7"))]
    assert gains.empty


def test_growth_of_a_rebasing_token_is_a_lot_of_its_day_and_shrinking_takes_the_oldest() -> None:
    grown = transaction(0, "accrual:1:0x", (f"income:yield:{USDC}", -5), (WALLET, 5), what="accrual")
    shrunk = transaction(1, "accrual:2:0x", (f"income:yield:{USDC}", 2), (WALLET, -2), what="accrual")
    book, gains = books(frame_of([*grown, *shrunk]))
    assert lots_of(book, USDC) == [(day(0), "accrual", 3, money("0.000003"))]
    assert [(why, units) for why, units, *_ in taken(gains, USDC)] == [("accrual", 2)]


def test_what_a_correction_cannot_put_back_is_new_or_given_away_and_said() -> None:
    late = transaction(3, f"correction:{day(3)}:0xlate", (OUTSIDE, -usd(8)), (WALLET, usd(8)), corrects="0xlate")
    lost = transaction(4, f"correction:{day(4)}:0xin1", (OUTSIDE, usd(100)), (WALLET, -usd(100)), corrects="0xin1")
    book = LotBook(is_tracked)
    fold(book, by_day(frame_of(unlisted_pool())))
    _, notes = book.advance(day(3), frame_of(late))
    assert lots_of(book, USDC)[-1] == (day(3), "external_in", usd(8), money("8"))
    assert notes == (f"correction:{day(3)}:0xlate: {usd(8)} units of {USDC} came, 0 of them back into their lots",)
    gains, notes = book.advance(day(4), frame_of(lost))
    assert "0 of them back into their lots" in notes[-1]
    assert any("that no lot holds" in note for note in notes)
    assert sum(gains["amount"]) == usd(100)
    assert book.held()[TokenKey(1, USDC)] == usd(50 + 8 - 100)
    assert gains["cost_usd"].isna().sum() == 1, "what no lot holds has no cost"


def test_what_comes_after_it_was_given_away_fills_the_hole() -> None:
    rows = [
        *transaction(0, "0xout", (WALLET, -usd(10)), (OUTSIDE, usd(10)), what="external_out"),
        *transaction(1, "0xin", (OUTSIDE, -usd(25)), (WALLET, usd(25))),
    ]
    book = LotBook(is_tracked)
    gains, notes = book.advance(day(0), frame_of(rows))
    assert "went that no lot holds" in notes[0]
    assert lots_of(book, USDC) == [(day(0), "unknown", -usd(10), None)]
    assert taken(gains, USDC) == [("external_out", usd(10), money("10"), None, None)]
    _, notes = book.advance(day(1), frame_of(rows))
    assert "had been given away before they came" in notes[0]
    assert lots_of(book, USDC) == [(day(1), "external_in", usd(15), money("15"))]


def test_what_went_before_it_came_can_be_taken_back_after_it_was_filled() -> None:
    """10 went that no lot held, 6 of which were filled; then it turns out that none of the 10 had gone."""
    rows = [
        *transaction(0, "0xout", (WALLET, -usd(10)), (OUTSIDE, usd(10)), what="external_out"),
        *transaction(1, "0xin", (OUTSIDE, -usd(6)), (WALLET, usd(6))),
        *transaction(
            2, f"correction:{day(2)}:0xout", (WALLET, usd(10)), (OUTSIDE, -usd(10)), corrects="0xout", block_day=0
        ),
        *transaction(3, "0xgo", (WALLET, -usd(6)), (OUTSIDE, usd(6)), what="external_out"),
    ]
    book = LotBook(is_tracked)
    for at in range(3):
        book.advance(day(at), frame_of(rows))
    assert lots_of(book, USDC) == [(day(0), "unknown", usd(6), None)]
    gains, notes = book.advance(day(3), frame_of(rows))
    assert notes == ()
    assert list(gains["amount"]) == [usd(6)]
    assert lots_of(book, USDC) == []


@pytest.mark.parametrize(
    ("posting_id", "wanted"),
    [
        ("0xab:token:0:1", "0xab"),
        ("correction:2025-06-03:0xab:correction:0:1", "0xab"),
        ("correction:2025-06-03:accrual:2025-06-01:0xc0:correction:0:1", "accrual:2025-06-01:0xc0"),
        ("accrual:2025-06-01:0xc0:accrual:0:1", "accrual:2025-06-01:0xc0"),
        ("opening:1:0xc0:opening:0:1", "opening:1:0xc0"),
    ],
)
def test_a_posting_belongs_to_the_transaction_that_it_is_about(posting_id: str, wanted: str) -> None:
    assert transaction_of(posting_id) == wanted


# --- any history ------------------------------------------------------------------------------------------------------
@st.composite
def histories(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """Postings over six days: money in and out, swaps, pools, some of them corrected later."""
    rows: list[tuple[Any, ...]] = []
    for number in range(draw(st.integers(1, 14))):
        at, units = draw(st.integers(0, 5)), draw(st.integers(1, 2**80))
        account = draw(st.sampled_from([OUTSIDE, "equity:conversions", "income:yield:vault", "expenses:gas", WHAT]))
        sign = draw(st.sampled_from([1, -1]))
        close = draw(st.sampled_from([None, Decimal("0.9991"), Decimal("1.0003")]))
        tx = f"0x{number:02d}"
        legs = transaction(at, tx, (account, sign * units), (WALLET, -sign * units), close=close or Decimal(1))
        if close is None:
            legs = [(*leg[:14], None, *leg[15:]) for leg in legs]
        rows += legs
        if draw(st.integers(0, 3)) == 0:
            later, changed = draw(st.integers(at, 5)), draw(st.integers(1, units))
            other = draw(st.sampled_from([OUTSIDE, POOL, "income:rewards"]))
            rows += transaction(
                later,
                f"correction:{day(later)}:{tx}",
                (account, -sign * changed),
                (other, sign * changed),
                corrects=tx,
                block_day=at,
            )
    return rows


def none_is_zero(values: pd.Series) -> Decimal:
    """Sum of what is known."""
    return sum((value for value in values if value is not None), Decimal(0))


@settings(max_examples=40, deadline=None)
@given(rows=histories())
def test_days_told_one_by_one_give_the_lots_of_a_single_pass(rows: list[tuple[Any, ...]]) -> None:
    """Stored and read again every day, as the asset does; and lots add up to the asset accounts after each day."""
    postings = frame_of(rows)
    whole, all_gains = books(postings)
    stored, parts = EMPTY_LOTS, []
    for at in range(6):
        book = LotBook(is_tracked)
        book.load(stored, pd.concat([EMPTY_GAINS, *parts], ignore_index=True) if parts else EMPTY_GAINS)
        gains, _ = book.advance(day(at), postings)
        stored = book.open_lots(day(at))
        parts += [gains] if len(gains) else []
        held = asset_balances(as_of(trial_balances(postings), day(at)))
        assert {key: units for key, units in held.items() if units} == {
            key: units for key, units in book.held().items() if units
        }
    pd.testing.assert_frame_equal(stored, whole.open_lots(day(5)))
    if parts:
        pd.testing.assert_frame_equal(pd.concat(parts, ignore_index=True), all_gains)
    else:
        assert all_gains.empty


@settings(max_examples=25, deadline=None)
@given(rows=histories(), seed=st.randoms(use_true_random=False))
def test_the_order_of_postings_does_not_matter(rows: list[tuple[Any, ...]], seed: Any) -> None:
    one, gains = books(frame_of(rows))
    mixed = list(rows)
    seed.shuffle(mixed)
    other, same = books(frame_of(mixed))
    pd.testing.assert_frame_equal(one.open_lots(START), other.open_lots(START))
    pd.testing.assert_frame_equal(gains, same)


@settings(max_examples=40, deadline=None)
@given(rows=histories())
def test_a_gain_is_proceeds_less_cost_and_none_is_invented(rows: list[tuple[Any, ...]]) -> None:
    """Whatever is known of cost was paid: open cost and realised cost never exceed what was acquired."""
    plain = [row for row in rows if row[17] is None]
    book, gains = books(frame_of(plain))
    for proceeds, cost, gain in zip(gains["proceeds_usd"], gains["cost_usd"], gains["gain_usd"], strict=True):
        assert gain == (None if proceeds is None or cost is None else proceeds - cost)
    acquired = [row for row in plain if not row[8].startswith("assets:") and row[11] < 0 and row[14] is not None]
    paid = sum((-row[14] for row in acquired), Decimal(0))
    kept = none_is_zero(book.open_lots(START)["cost_usd"]) + none_is_zero(gains["cost_usd"])
    assert kept <= paid
    if not any(lot.startswith("short:") for lot in gains["lot_id"]):
        assert kept == paid
