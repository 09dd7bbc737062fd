"""Tests of domain/prices/instruments.py."""

from datetime import date

import pandas as pd
import pytest

from defiyield_assets.domain.policy import Token
from defiyield_assets.domain.prices.instruments import (
    INSTRUMENT_COLUMNS,
    Instrument,
    build_instruments,
    listed_on,
    periods_per_year,
    with_dropped,
)
from defiyield_assets.errors import ConfigurationError
from defiyield_assets.store import schema
from defiyield_assets.store.validation import require_valid

USDC = Token("USDC", "Ethereum", "0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48", 6, "Circle", "usd", cmc_id=3408)
GOOG = Instrument("GOOG", "equity", "us_equities", "XNYS", listed_at=date(2004, 8, 19))
MATIC = Instrument("MATIC", "crypto", "coins", "24x7", cmc_id=3890, delisted_at=date(2025, 3, 25))


def test_tokens_and_instruments_are_one_table() -> None:
    frame = build_instruments([USDC], [GOOG, MATIC])
    require_valid(schema.instruments, frame)
    assert list(frame.columns) == list(INSTRUMENT_COLUMNS) == [column.name for column in schema.instruments.columns]
    assert frame["instrument_id"].tolist() == [
        "crypto:MATIC",
        "equity:GOOG",
        "ethereum:0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48",
    ]
    assert frame["universe"].tolist() == ["coins", "us_equities", "stablecoins"]


@pytest.mark.parametrize(
    ("day", "listed"),
    [
        (date(2004, 8, 18), {"crypto:MATIC"}),
        (date(2004, 8, 19), {"crypto:MATIC", "equity:GOOG"}),
        (date(2025, 3, 24), {"crypto:MATIC", "equity:GOOG"}),
        (date(2025, 3, 25), {"equity:GOOG"}),
    ],
)
def test_an_instrument_is_listed_from_its_first_day_to_the_day_before_delisted_at(day: date, listed: set[str]) -> None:
    frame = build_instruments([], [GOOG, MATIC])
    assert set(listed_on(frame, day)["instrument_id"]) == listed
    assert {one.instrument_id for one in (GOOG, MATIC) if one.is_listed(day)} == listed


def test_what_left_the_file_stays_but_is_no_longer_configured() -> None:
    stored = build_instruments([USDC], [GOOG, MATIC])
    frame = with_dropped(build_instruments([], [GOOG]), stored)
    assert dict(zip(frame["instrument_id"], frame["is_configured"], strict=True)) == {
        "equity:GOOG": True,
        "crypto:MATIC": False,
    }
    assert list(listed_on(frame, date(2020, 1, 1))["instrument_id"]) == ["equity:GOOG"]
    require_valid(schema.instruments, frame)


def test_a_coin_that_is_an_approved_token_is_refused() -> None:
    twin = Instrument("USDC", "crypto", "coins", "24x7", cmc_id=3408)
    empty = pd.DataFrame(columns=list(INSTRUMENT_COLUMNS))
    with pytest.raises(ConfigurationError, match=r"crypto:USDC has the cmc_id 3408 of the token ethereum:0xa0b8.*only"):
        with_dropped(build_instruments([USDC], [twin]), empty)


def test_exchanges_have_252_bars_a_year_and_crypto_365() -> None:
    assert (periods_per_year("24x7"), periods_per_year("XNYS")) == (365, 252)
