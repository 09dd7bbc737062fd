"""Factors of stored bars: an action that cannot be, adjusted files before raw bars, and bars below a day.

Lives here: a small warehouse without Dagster. Not here: the rules (domain/prices), whole days (test_bars.py).
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.instruments import Instrument, build_instruments
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.bars import write_bars
from defiyield_assets.orchestration.checks.prices import factors_are_those_of_the_actions
from defiyield_assets.orchestration.intraday_features import instruments_since, make_intraday_features
from defiyield_assets.store import reads, schema, writes
from defiyield_assets.store.engine import make_engine

STAMP = pd.Timestamp("2025-07-01", tz="UTC")
DAYS = DayRange(date(2025, 6, 2), date(2025, 6, 6))
A, B = "equity:AAA", "equity:BBB"
EQUITIES = {"instrument_type": ["equity"]}


def day(number: int) -> date:
    """A working day of the week, from Monday = 0 on."""
    return DAYS.start + timedelta(days=number)


def instruments() -> pd.DataFrame:
    return build_instruments([], [Instrument(name, "equity", "stocks", "XNYS") for name in ("AAA", "BBB")])


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    """A warehouse that lists two shares."""
    made = make_engine(f"sqlite:///{tmp_path / 'warehouse.db'}")
    schema.metadata.create_all(made)
    writes.upsert(made, schema.instruments, instruments())
    return made


def tell(engine: sa.Engine, name: str, closes: dict[int, float]) -> None:
    """The vendor's bars of some days."""
    rows = [
        {
            **{"instrument_id": name, "interval": "1d", "ts": pd.Timestamp(day(number), tz="UTC"), "date": day(number)},
            **dict.fromkeys(("open", "high", "low", "close"), close),
            **{"adjusted_close": np.nan, "volume_units": 100.0, "dividend": 0.0, "split_coefficient": 1.0},
            "fetched_at": STAMP,
        }
        for number, close in closes.items()
    ]
    writes.upsert(engine, schema.ohlcv_alpha_vantage, pd.DataFrame(rows))


def act(engine: sa.Engine, *told: tuple[str, int, str, float]) -> None:
    """Make these the actions."""
    columns = ["instrument_id", "ex_date", "kind", "value", "source", "fetched_at"]
    rows = [(name, day(number), kind, value, "alpha_vantage", STAMP) for name, number, kind, value in told]
    writes.replace_slice(engine, schema.corporate_actions, pd.DataFrame(rows, columns=columns), DAYS)


def tell_file(engine: sa.Engine, name: str, closes: dict[str, float], *, interval: str, is_adjusted: bool) -> None:
    """Bars of a file by their stamp, open and close alike."""
    stamps = [pd.Timestamp(stamp, tz="UTC") for stamp in closes]
    rows: dict[str, Any] = {name: list(closes.values()) for name in ("open", "high", "low", "close")}
    rows |= {"instrument_id": name, "interval": interval, "ts": stamps, "date": [stamp.date() for stamp in stamps]}
    rows |= {"volume_units": 1.0, "volume_usd": np.nan, "market_cap_usd": np.nan, "csv_source": "file"}
    rows |= {"price_scale": 1.0, "is_adjusted": is_adjusted, "file_sha256": "ab", "row_number": 1}
    writes.upsert(engine, schema.ohlcv_csv, pd.DataFrame(rows))
    if interval != "1d":
        below = pd.DataFrame(rows).assign(source="csv:file", quality="full")
        writes.upsert(engine, schema.intraday_bars, below[list(schema.intraday_bars.columns.keys())])


def make(engine: sa.Engine, days: DayRange = DAYS) -> None:
    write_bars(engine, instruments(), days, {"equity": ("alpha_vantage", "csv")}, where=EQUITIES)


def bars(engine: sa.Engine, name: str) -> pd.DataFrame:
    return reads.read_all(engine, schema.daily_bars, {"instrument_id": name})


def verdicts(engine: sa.Engine) -> dict[str, Any]:
    return {str(told.check_name): told for told in factors_are_those_of_the_actions(engine, ["equity"])}


def test_an_impossible_dividend_ends_the_bars_of_its_share_only_and_is_named(engine: sa.Engine) -> None:
    """Told late: the bars behind its day are stored already; the vendor takes it back later."""
    for name in (A, B):
        tell(engine, name, dict.fromkeys(range(5), 5.0))
    act(engine, (A, 1, "dividend", 1.0))
    make(engine, DayRange(day(0), day(3)))
    act(engine, (A, 1, "dividend", 1.0), (A, 3, "dividend", 6.0), (B, 4, "split", 2.0))
    make(engine, DayRange.of(day(4)))
    own, other = bars(engine, A), bars(engine, B)
    assert own[["date", "adj_factor"]].values.tolist() == [[day(0), 0.8], [day(1), 1.0], [day(2), 1.0]]
    assert other["adj_factor"].tolist() == [0.5] * 4 + [1.0]
    told = verdicts(engine)
    assert told["every_factor_knows_every_action"].passed, "what is stored is right"
    assert not told["every_action_is_possible"].passed
    assert (
        f"{A} is said to pay 6 on {day(3)}, and its close before was 5" in told["every_action_is_possible"].description
    )
    act(engine, (A, 1, "dividend", 1.0), (B, 4, "split", 2.0))
    make(engine)
    assert bars(engine, A)["adj_factor"].tolist() == [0.8, 1.0, 1.0, 1.0, 1.0]
    assert all(verdict.passed for verdict in verdicts(engine).values())


def test_the_only_action_of_a_share_that_is_taken_back_leaves_no_factor_behind(engine: sa.Engine) -> None:
    tell(engine, A, {0: 10.0, 1: 10.0, 2: 10.0, 3: 10.0})
    act(engine, (A, 2, "split", 2.0))
    make(engine, DayRange(day(0), day(2)))
    assert bars(engine, A)["adj_factor"].tolist() == [0.5, 0.5, 1.0]
    act(engine)
    assert not verdicts(engine)["every_factor_knows_every_action"].passed, "the check sees factors without an action"
    make(engine, DayRange.of(day(3)))
    assert bars(engine, A)["adj_factor"].tolist() == [1.0] * 4
    assert bars(engine, A)["split_factor"].tolist() == [1.0] * 4
    assert verdicts(engine)["every_factor_knows_every_action"].passed


def test_a_split_behind_an_adjusted_file_restates_the_bars_of_the_file(engine: sa.Engine) -> None:
    """The file reaches to Wednesday, the vendor tells from Tuesday on, and its bars win."""
    tell_file(engine, A, {str(day(number)): 50.0 for number in range(3)}, interval="1d", is_adjusted=True)
    tell(engine, A, {1: 100.0, 2: 50.0, 3: 50.0, 4: 25.0})
    act(engine, (A, 2, "split", 2.0), (A, 4, "split", 2.0))
    make(engine)
    made = bars(engine, A)
    assert made["source"].tolist() == ["csv:file"] + ["alpha_vantage"] * 4
    assert (made["close"] * made["adj_factor"]).tolist() == [25.0] * 5
    assert verdicts(engine)["every_factor_knows_every_action"].passed


def five_minutes(number: int, close: float, n: int = 15) -> dict[str, float]:
    """Bars of a session's first minutes, by stamp."""
    start = pd.Timestamp(f"{day(number)}T13:30")
    return {str(start + pd.Timedelta(minutes=5 * step)): close for step in range(n)}


def intraday(engine: sa.Engine, name: str) -> pd.DataFrame:
    make_intraday_features(engine, [name])
    return reads.read_all(engine, schema.intraday_features, {"instrument_id": name})


def test_a_split_between_bars_below_a_day_is_no_fall(engine: sa.Engine) -> None:
    told = five_minutes(0, 200.0) | five_minutes(1, 100.0)
    tell_file(engine, A, told, interval="5m", is_adjusted=False)
    act(engine, (A, 1, "split", 2.0))
    make(engine)
    found = intraday(engine, A)
    assert found["return_1"].dropna().eq(0.0).all()
    assert found["realised_vol_20"].dropna().eq(0.0).all()
    assert found["sma_20"].dropna().eq(100.0).all()
    assert found["volume_sma_20"].iloc[19] == (15 * 2.0 + 5 * 1.0) / 20, "in shares of today"
    assert instruments_since(engine, STAMP.to_pydatetime()) == []
    assert instruments_since(engine, STAMP.to_pydatetime() - timedelta(days=1)) == [A], "an action came since"


def test_bars_below_a_day_whose_factors_nobody_knows_have_no_features(engine: sa.Engine) -> None:
    """A day without a daily bar, and raw bars beside an adjusted daily one; without any action there is no doubt."""
    told = five_minutes(0, 200.0) | five_minutes(1, 100.0)
    tell_file(engine, A, told, interval="5m", is_adjusted=False)
    act(engine, (A, 1, "split", 2.0))
    tell(engine, A, {1: 100.0})
    make(engine, DayRange.of(day(1)))
    assert intraday(engine, A)["log_return_1"].notna().tolist() == [False] * 16 + [True] * 14
    act(engine)
    assert intraday(engine, A)["log_return_1"].notna().sum() == 29


def test_bars_of_an_instrument_that_is_not_listed_are_refused(engine: sa.Engine) -> None:
    tell_file(engine, "equity:CCC", five_minutes(0, 1.0), interval="5m", is_adjusted=False)
    with pytest.raises(SuspiciousDataError, match="equity:CCC, which `instruments` does not list"):
        make_intraday_features(engine, ["equity:CCC"])
