"""What surrounds an instrument: the regime of its own market on its own day, and macro series by vintage."""

from datetime import date, timedelta

import numpy as np
import pandas as pd

from defiyield_assets.domain.market.features.panel import BarTable
from defiyield_assets.domain.market.features.surroundings import MARKET_OF, METRICS, surrounding_columns
from defiyield_assets.domain.market.regimes import MARKETS
from defiyield_assets.domain.prices.instruments import ALWAYS_OPEN

START = date(2025, 3, 1)
DAYS = [START + timedelta(days=number) for number in range(4)]


def table(is_new: int = 0) -> BarTable:
    """A coin with four bars and a share that lacks the second."""
    dates = np.array([*DAYS, DAYS[0], DAYS[2], DAYS[3]], dtype="datetime64[D]")
    fresh = np.array([number >= is_new for number in (0, 1, 2, 3, 0, 2, 3)])
    return BarTable(np.array([0, 4, 7]), dates, {"close": np.ones(7)}, fresh, np.array([365.0, 252.0]))


def regimes() -> pd.DataFrame:
    """The coins' market on all days, the shares' on the first and last."""
    rows = [("crypto", day, 0.1 * number, 0.2, 0.8 - 0.1 * number) for number, day in enumerate(DAYS)]
    rows += [("us_equities", DAYS[0], 0.5, 0.3, 0.2), ("us_equities", DAYS[3], 0.0, 0.0, 1.0)]
    return pd.DataFrame(rows, columns=["market", "date", "p_calm", "p_normal", "p_turbulent"])


def macro() -> pd.DataFrame:
    """One observation, published on the second day and revised on the fourth."""
    told = [("DGS10", DAYS[0], DAYS[1], 4.0), ("DGS10", DAYS[0], DAYS[3], 4.5)]
    return pd.DataFrame(told, columns=["series_id", "date", "vintage", "value"])


def test_every_bar_has_the_regime_of_its_market_and_day() -> None:
    found = surrounding_columns(table(), [ALWAYS_OPEN, "XNYS"], regimes(), macro())
    assert set(found) == {metric.name for metric in METRICS}
    np.testing.assert_allclose(found["regime_p_calm"], [0.0, 0.1, 0.2, 0.3, 0.5, np.nan, 0.0])
    np.testing.assert_allclose(found["regime_p_turbulent"], [0.8, 0.7, 0.6, 0.5, 0.2, np.nan, 1.0])


def test_macro_levels_are_known_from_their_vintage_on() -> None:
    found = surrounding_columns(table(), [ALWAYS_OPEN, "XNYS"], regimes(), macro())
    np.testing.assert_array_equal(found["macro_dgs10"], [np.nan, 0.04, 0.04, 0.045, np.nan, 0.04, 0.045])
    assert np.isnan(found["macro_t10y3m"]).all()
    assert np.isnan(found["macro_dgs10_change_20"]).all()


def test_bars_that_are_not_new_and_days_that_nothing_tells_of_have_none() -> None:
    found = surrounding_columns(table(3), [ALWAYS_OPEN, "XNYS"], regimes(), macro())
    np.testing.assert_array_equal(found["macro_dgs10"], [np.nan, np.nan, np.nan, 0.045, np.nan, np.nan, 0.045])
    none = surrounding_columns(table(), [ALWAYS_OPEN, "XNYS"], regimes().iloc[:0], macro().iloc[:0])
    assert all(np.isnan(values).all() for values in none.values())


def test_who_trades_elsewhere_than_in_a_market_with_a_regime_has_none() -> None:
    """A share of London has no part in the regime of SPY, which is measured in New York."""
    assert set(MARKET_OF.values()) == set(MARKETS)
    found = surrounding_columns(table(), [ALWAYS_OPEN, "XLON"], regimes(), macro())
    np.testing.assert_allclose(found["regime_p_calm"], [0.0, 0.1, 0.2, 0.3, np.nan, np.nan, np.nan])
    np.testing.assert_allclose(found["macro_dgs10"][4:], [np.nan, 0.04, 0.045])


def test_every_name_of_a_united_states_exchange_is_one_calendar() -> None:
    from exchange_calendars import resolve_alias

    assert {resolve_alias(name) for name in MARKET_OF if name != ALWAYS_OPEN} == {"XNYS"}
