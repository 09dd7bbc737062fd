"""The simulated exchange: the golden figures, rejections, resting orders, and what no order may ever break."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from defiyield_assets.domain.paper.account_codec import account_of, account_text
from defiyield_assets.domain.paper.exchange import MONEY, ROUNDING, Account, Exchange, Fees, Pair, decimal_of
from defiyield_assets.errors import SuspiciousDataError

D = Decimal
TS = datetime(2025, 6, 3, tzinfo=UTC)
PAIRS = {"BTC/USD": Pair("BTC", "USD"), "ETH/USD": Pair("ETH", "USD")}


def exchange(usd: str = "10000", **units: str) -> Exchange:
    """An exchange with a fee of 0.1 %."""
    balances = {"USD": D(usd), **{asset: D(text) for asset, text in units.items()}}
    return Exchange(Account("a", balances), PAIRS, Fees(D("0.001")))


def test_the_golden_figures() -> None:
    one = exchange()
    bought = one.market_order(TS, "BTC/USD", "buy", D("0.1"), D("20000"))
    assert (bought.status, bought.fee, bought.total) == ("filled", D("2.00"), D("2002.00"))
    assert (one.balance("USD"), one.balance("BTC")) == (D("7998.00"), D("0.1"))
    sold = one.market_order(TS, "BTC/USD", "sell", D("0.05"), D("21000"))
    assert (sold.status, sold.fee, sold.total) == ("filled", D("1.05"), D("1048.95"))
    assert (one.balance("USD"), one.balance("BTC")) == (D("9046.95"), D("0.05"))
    assert (bought.order_id, sold.order_id, sold.number) == ("a-000001", "a-000002", 2)
    assert (sold.ts, sold.symbol, sold.side, sold.price, sold.quantity) == (
        *(TS, "BTC/USD", "sell"),
        *(D("21000"), D("0.05")),
    )


@pytest.mark.parametrize(
    ("symbol", "side", "quantity", "price", "reason"),
    [
        ("DOGE/USD", "buy", "1", "1", "unknown pair: DOGE/USD"),
        ("BTC/USD", "buy", "1", "20000", "insufficient funds: 10020 USD are missing"),
        ("BTC/USD", "sell", "1", "20000", "insufficient funds: 1 BTC are missing"),
        ("BTC/USD", "buy", "1e-9", "1", "quantity 1E-9 is not above 1E-9"),
        ("BTC/USD", "buy", "-1", "1", "quantity -1 is not above 1E-9"),
        ("BTC/USD", "buy", "NaN", "1", "quantity NaN is not above 1E-9"),
        ("BTC/USD", "buy", "1", "0", "price 0 is not positive and finite"),
        ("BTC/USD", "buy", "1", "-5", "price -5 is not positive and finite"),
        ("BTC/USD", "buy", "1", "Infinity", "price Infinity is not positive and finite"),
        ("BTC/USD", "sell", "1", "NaN", "price NaN is not positive and finite"),
    ],
)
@pytest.mark.parametrize("kind", ["market", "limit"])
def test_what_cannot_be_filled_is_rejected_with_its_reason_and_moves_nothing(
    symbol: str, side: str, quantity: str, price: str, reason: str, kind: str
) -> None:
    one = exchange()
    place = one.market_order if kind == "market" else one.limit_order
    record = place(TS, symbol, side, D(quantity), D(price))  # type: ignore[arg-type]
    assert (record.status, record.reason, record.total) == ("rejected", reason, None)
    assert one.account().balances == {"USD": D("10000")}
    assert one.account().n_orders == 1, "a rejected order is recorded and numbered too"


def test_a_limit_order_rests_reserves_and_is_filled_at_its_limit_when_a_bar_touches_it() -> None:
    one = exchange("1000")
    placed = one.limit_order(TS, "ETH/USD", "buy", D("5"), D("100"))
    assert placed.status == "open"
    assert one.available("USD") == D("499.5")
    assert one.limit_order(TS, "ETH/USD", "buy", D("5"), D("100")).reason == "insufficient funds: 1 USD are missing"
    assert one.market_order(TS, "ETH/USD", "buy", D("5"), D("99.9")).status == "rejected", "what is reserved is spent"
    assert one.touch(TS, "ETH/USD", D("100.01"), D("120")) == []
    assert one.touch(TS, "BTC/USD", D("1"), D("2")) == []
    (filled,) = one.touch(TS, "ETH/USD", D("90"), D("120"))
    assert (filled.order_id, filled.status, filled.price, filled.total) == (
        *(placed.order_id, "filled"),
        *(D("100"), D("500.5")),
    )
    assert (one.balance("USD"), one.balance("ETH"), one.available("USD")) == (D("499.5"), D("5"), D("499.5"))
    resting = one.limit_order(TS, "ETH/USD", "sell", D("2"), D("150"))
    assert one.available("ETH") == D("3")
    assert one.touch(TS, "ETH/USD", D("90"), D("149.99")) == []
    (sold,) = one.touch(TS, "ETH/USD", D("90"), D("150"))
    assert (sold.order_id, sold.total, one.balance("ETH")) == (resting.order_id, D("299.7"), D("3"))


def test_a_resting_order_is_carried_as_text_and_can_be_taken_back() -> None:
    one = exchange("1000")
    placed = one.limit_order(TS, "ETH/USD", "buy", D("5"), D("100"))
    carried = Exchange(account_of(account_text(one.account())), PAIRS, Fees(D("0.001")))
    assert carried.account() == one.account()
    assert carried.cancel(TS, placed.order_id).status == "cancelled"
    assert carried.available("USD") == D("1000")
    assert carried.touch(TS, "ETH/USD", D("1"), D("200")) == []
    with pytest.raises(KeyError, match="is no resting order"):
        carried.cancel(TS, placed.order_id)
    with pytest.raises(SuspiciousDataError, match="no account of the exchange"):
        account_of('{"name": 3}')


def test_a_short_owes_units_and_pays_no_more_than_there_is_when_it_is_closed() -> None:
    one = exchange("100")
    assert one.market_order(TS, "ETH/USD", "sell", D("1"), D("100")).status == "rejected"
    assert one.market_order(TS, "ETH/USD", "sell", D("1"), D("100"), may_owe=True).total == D("99.9")
    assert (one.balance("ETH"), one.balance("USD")) == (D("-1"), D("199.9"))
    assert one.market_order(TS, "ETH/USD", "buy", D("1"), D("300")).status == "rejected"
    closed = one.market_order(TS, "ETH/USD", "buy", D("1"), D("300"), pays_what_there_is=True)
    assert closed.status == "filled"
    assert (one.balance("ETH"), one.balance("USD"), one.account().written_off) == (D("0"), D("0"), D("100.4"))


def test_what_rounding_lacks_is_let_pass_and_booked_and_nothing_more() -> None:
    price = D("3.3")
    enough = D("10") * price * D("1.001")
    for missing, status in ((enough * ROUNDING / 2, "filled"), (enough * ROUNDING * 2, "rejected")):
        one = exchange(str(enough - missing))
        assert one.market_order(TS, "ETH/USD", "buy", D("10"), price).status == status
        assert one.balance("USD") >= 0
        told = one.account().rounding
        assert told == ({"USD": missing} if status == "filled" else {})


def test_no_unit_is_had_for_nothing() -> None:
    """A value below half a MONEY is a MONEY for a buyer and nothing for a seller."""
    one = exchange("0", BTC="1")
    assert one.market_order(TS, "ETH/USD", "buy", D("4.9e-8"), D("1e-6")).status == "rejected"
    assert one.balance("ETH") == 0
    paid = exchange("1")
    assert paid.market_order(TS, "ETH/USD", "buy", D("4.9e-8"), D("1e-6")).total == MONEY
    assert one.market_order(TS, "BTC/USD", "sell", D("9.9e-7"), D("1e-6")).total == 0


def test_a_refused_sale_whose_units_lack_by_rounding_moves_nothing() -> None:
    one = Exchange(Account("a", {"BTC": D("1"), "USD": D("0")}), PAIRS, Fees(D("0.001"), D("5")))
    refused = one.market_order(TS, "BTC/USD", "sell", D("1.0000000005"), D("1"))
    assert refused.reason == "insufficient funds: 3.9999999995 USD are missing"
    assert one.account().balances == {"BTC": D("1"), "USD": D("0")}
    assert one.account().rounding == {}


@pytest.mark.parametrize(
    ("side", "limit", "opened", "is_never_better", "price"),
    [
        ("buy", "110", "95", False, "95"),
        ("buy", "110", None, False, "100"),
        ("buy", "110", "95", True, "110"),
        ("buy", "94", "99", False, "94"),
        ("sell", "50", "95", False, "95"),
        ("sell", "50", None, False, "90"),
        ("sell", "50", "95", True, "50"),
        ("sell", "97", "91", False, "97"),
    ],
)
def test_a_bar_beyond_the_limit_fills_at_a_price_that_was_traded_but_targets_at_theirs(
    side: str, limit: str, opened: str | None, is_never_better: bool, price: str
) -> None:
    one = exchange("1000", ETH="5")
    one.limit_order(TS, "ETH/USD", side, D("1"), D(limit))  # type: ignore[arg-type]
    start = None if opened is None else D(opened)
    (told,) = one.touch(TS, "ETH/USD", D("90"), D("100"), start, is_never_better=is_never_better)
    assert (told.status, told.price) == ("filled", D(price))


def test_a_split_restates_resting_orders_too() -> None:
    one = exchange("0", ETH="1")
    placed = one.limit_order(TS, "ETH/USD", "sell", D("1"), D("200"))
    one.restate("ETH", D("4"))
    assert one.available("ETH") == 0
    (sold,) = one.touch(TS, "ETH/USD", D("40"), D("60"))
    assert (sold.order_id, sold.quantity, sold.price) == (placed.order_id, D("4"), D("50"))


def test_what_is_too_large_to_be_reckoned_is_rejected() -> None:
    one = exchange()
    for quantity, price in (("1e30", "1e19"), ("1e60", "1"), ("1", "1e60")):
        assert str(one.market_order(TS, "ETH/USD", "buy", D(quantity), D(price)).reason).startswith("value of")


def test_borrowing_takes_nothing_that_an_order_has_reserved() -> None:
    one = exchange("1100")
    placed = one.limit_order(TS, "ETH/USD", "buy", D("1"), D("1000"))
    one.finance("USD", D("-500"))
    assert (one.available("USD"), one.account().financing) == (D("0"), D("-99"))
    (filled,) = one.touch(TS, "ETH/USD", D("900"), D("1000"))
    assert (filled.order_id, filled.status) == (placed.order_id, "filled")


def test_a_float_is_told_by_its_shortest_decimal_and_read_back_to_the_bit() -> None:
    assert decimal_of(0.1) == D("0.1")
    with pytest.raises(ValueError, match="is no amount"):
        decimal_of(float("nan"))


ORDERS = st.lists(
    st.tuples(
        st.sampled_from(["market", "limit", "cancel", "touch"]),
        st.sampled_from(["BTC/USD", "ETH/USD", "DOGE/USD"]),
        st.sampled_from(["buy", "sell"]),
        st.decimals("-1", "1000", allow_nan=False, places=9),
        st.decimals("-1", "50000", allow_nan=False, places=6),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(ORDERS, st.decimals("0", "0.05", places=4))
def test_whatever_is_ordered_balances_are_never_negative_and_follow_from_the_records(
    orders: list[tuple[str, str, str, Decimal, Decimal]], fee: Decimal
) -> None:
    one = Exchange(Account("a", {"USD": D("10000"), "BTC": D("0.5")}), PAIRS, Fees(fee))
    records, resting = [], []
    for kind, symbol, side, quantity, price in orders:
        if kind == "market":
            records.append(one.market_order(TS, symbol, side, quantity, price))  # type: ignore[arg-type]
        elif kind == "limit":
            resting.append(one.limit_order(TS, symbol, side, quantity, price))  # type: ignore[arg-type]
        elif kind == "touch":
            records += one.touch(TS, symbol, min(quantity, price), max(quantity, price))
        elif one.account().resting:
            one.cancel(TS, next(iter(one.account().resting)))
        assert all(one.balance(asset) >= 0 and one.available(asset) >= 0 for asset in ("USD", "BTC", "ETH"))
    filled = [record for record in records if record.status == "filled"]
    usd, btc = D("10000"), D("0.5")
    for record in filled:
        assert record.total is not None
        assert record.quantity is not None
        sign = 1 if record.side == "buy" else -1
        usd -= sign * record.total
        btc += sign * record.quantity if record.symbol == "BTC/USD" else 0
    told = one.account()
    rounded = told.rounding.get("USD", D(0))
    assert abs(one.balance("USD") - usd - rounded) <= MONEY * max(len(filled), 1)
    assert one.balance("BTC") == btc + told.rounding.get("BTC", D(0))
    assert len({record.order_id for record in [*filled, *resting]}) >= len(filled)
    assert account_of(account_text(told)) == told
