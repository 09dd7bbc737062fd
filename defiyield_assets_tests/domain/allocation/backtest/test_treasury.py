"""The exact treasury: steps in integers, yields rounded down, nothing spent that is not there."""

from decimal import Decimal

import pandas as pd
import pytest

from defiyield_assets.domain.allocation.backtest.treasury import Treasury, fresh_treasury
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets_tests.domain.allocation.backtest.tiny_records import USDC, USDT, WALLET

PRICES = {USDC: Decimal(1), USDT: Decimal("0.5")}
DECIMALS = {USDC: 6, USDT: 18}
COLUMNS = ("seq", "leg", "step_type", "pool_id", "token_in", "amount_in", "token_out", "amount_out", "conversion_usd")


def steps(*rows: tuple[object, ...]) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(COLUMNS, row, strict=True)) for row in rows], dtype=object)


def treasury() -> Treasury:
    return fresh_treasury(WALLET, DECIMALS, USDC, Decimal(100), PRICES)


def test_capital_is_rounded_down_to_base_units_of_its_token() -> None:
    made = fresh_treasury(WALLET, DECIMALS, USDT, Decimal("0.3333333333333333333"), PRICES)
    assert made.wallet[USDT] == 666_666_666_666_666_666
    assert made.dollars(PRICES) <= Decimal("0.3333333333333333333")


def test_steps_move_integers_and_a_conversion_costs_what_it_says() -> None:
    own = treasury()
    cost = own.execute(
        steps(
            (1, 0, "CONVERT", None, USDC, 40_000_000, USDT, 79 * 10**18, Decimal("0.5")),
            (2, 0, "DEPOSIT", "a", USDC, 60_000_000, None, None, Decimal(0)),
            (3, 0, "DEPOSIT", "b", USDT, 79 * 10**18, None, None, Decimal(0)),
            (4, 0, "WITHDRAW", "a", None, None, USDC, 10_000_000, Decimal(0)),
        )
    )
    assert cost == Decimal("0.5")
    assert own.wallet == {USDC: 10_000_000, USDT: 0}
    assert own.positions == {"a": {USDC: 50_000_000}, "b": {USDT: 79 * 10**18}}
    assert own.dollars(PRICES) == Decimal("99.5")


def test_a_step_that_spends_what_is_not_there_is_refused() -> None:
    with pytest.raises(SuspiciousDataError, match="1 base units"):
        treasury().execute(steps((1, 0, "DEPOSIT", "a", USDC, 100_000_001, None, None, Decimal(0))))
    with pytest.raises(SuspiciousDataError, match="not there"):
        treasury().execute(steps((1, 0, "WITHDRAW", "a", None, None, USDC, 1, Decimal(0))))


def test_a_held_row_moves_nothing() -> None:
    own = treasury()
    own.execute(steps((1, 0, "HOLD", "a", USDC, 5, None, None, Decimal(0))))
    assert own.wallet == {USDC: 100_000_000}


def test_yield_is_rounded_down_and_losses_are_paid_too() -> None:
    own = treasury()
    own.positions = {"a": {USDC: 1_000_001}, "b": {USDC: 1_000_000}}
    paid = own.pay({"a": Decimal("0.0000019"), "b": Decimal("-0.5")}, PRICES)
    assert own.positions == {"a": {USDC: 1_000_002}, "b": {USDC: 500_000}}
    assert paid == {"a": Decimal("0.000001"), "b": Decimal("-0.5")}


def test_gas_is_part_of_wealth_but_not_of_the_dollars() -> None:
    own = treasury()
    own.gas_usd = Decimal("2.5")
    assert (own.dollars(PRICES), own.wealth(PRICES)) == (Decimal(100), Decimal("97.5"))


def test_a_token_without_a_price_is_never_worth_something() -> None:
    with pytest.raises(SuspiciousDataError, match="no price"):
        treasury().dollars({USDT: Decimal(1)})
