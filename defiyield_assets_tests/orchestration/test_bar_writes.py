"""`write_bars` on a small warehouse: what is locked, and what is told of days without a session.

Not here: the rules (domain/prices), what rests on bars (test_invalidation.py), the assets (test_bars.py).
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from threading import Thread
from typing import Any

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.prices.curation import SOURCE_PRIORITY
from defiyield_assets.domain.prices.instruments import Instrument, build_instruments
from defiyield_assets.orchestration import bars as bars_module
from defiyield_assets.orchestration.bars import EVER, Written, write_bars
from defiyield_assets.store import reads, schema, writes

NAME = "equity:AAPL"
LISTED = build_instruments((), [Instrument("AAPL", "equity", "us", "XNYS", alpha_vantage_symbol="AAPL")])
EARLIER, MIDDLE, NEWEST = date(2020, 8, 20), date(2020, 8, 28), date(2020, 8, 31)
SATURDAY = date(2020, 8, 29)
TOLD_AT = datetime(2020, 9, 1, tzinfo=UTC)


def tell(engine: sa.Engine, days: Sequence[date], close: float, *, split: float = 1.0) -> None:
    """Bars as the vendor tells them."""
    rows = [
        {
            **{"instrument_id": NAME, "interval": "1d", "ts": pd.Timestamp(day, tz="UTC"), "date": day},
            **dict.fromkeys(("open", "high", "low", "close", "adjusted_close"), close),
            **{"volume_units": 1e6, "dividend": 0.0, "split_coefficient": split, "fetched_at": TOLD_AT},
        }
        for day in days
    ]
    writes.upsert(engine, schema.ohlcv_alpha_vantage, pd.DataFrame(rows))


def write(engine: sa.Engine, *days: date) -> Written:
    span = DayRange(min(days), max(days))
    return write_bars(engine, LISTED, span, SOURCE_PRIORITY, where={"instrument_type": ["equity"]})


def split_told(engine: sa.Engine) -> None:
    """What another run does: a split of four for one, and the first bar in new shares."""
    tell(engine, [NEWEST], 125.0, split=4.0)
    action = {"instrument_id": NAME, "ex_date": NEWEST, "kind": "split", "value": 4.0}
    frame = pd.DataFrame([{**action, "source": "alpha_vantage", "fetched_at": TOLD_AT}])
    writes.replace_slice(engine, schema.corporate_actions, frame, EVER)
    write(engine, NEWEST)


def test_two_writers_at_once_leave_no_bar_that_does_not_know_the_split(
    warehouse: sa.Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import reads bars and actions; before it writes, the run of exchanges wants to commit a split."""
    tell(warehouse, [EARLIER, MIDDLE], 500.0)
    write(warehouse, MIDDLE)
    factors, other = bars_module.with_factors, Thread(target=split_told, args=(warehouse,))

    def interrupted(*args: Any, **named: Any) -> Any:
        found = factors(*args, **named)
        if not other.is_alive():
            monkeypatch.setattr(bars_module, "with_factors", factors)
            other.start()
            other.join(timeout=1.0)
        return found

    monkeypatch.setattr(bars_module, "with_factors", interrupted)
    write(warehouse, EARLIER)
    other.join()
    bars = reads.read_all(warehouse, schema.daily_bars).sort_values("date")
    assert list(bars["date"]) == [EARLIER, MIDDLE, NEWEST]
    assert list(bars["close"] * bars["adj_factor"]) == [125.0] * 3


def test_no_bar_is_made_of_a_day_without_a_session_and_who_told_it_is_named(warehouse: sa.Engine) -> None:
    tell(warehouse, [MIDDLE, SATURDAY, NEWEST], 500.0)
    written = write(warehouse, MIDDLE, NEWEST)
    assert list(written.bars["date"]) == [MIDDLE, NEWEST]
    assert written.off_session.values.tolist() == [[NAME, SATURDAY, "alpha_vantage"]]
