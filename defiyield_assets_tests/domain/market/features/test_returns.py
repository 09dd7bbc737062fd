"""Returns against pandas; 52 weeks are 364 bars of a 24x7 market and 252 of an exchange."""

import numpy as np
import pytest

from defiyield_assets_tests.domain.market.features.made_bars import Reference, assert_equals_reference, market

PERIODS = (1, 5, 20, 21, 60, 63, 252)


def _weeks_52(periods: float) -> int:
    return 364 if periods == 365.0 else 252


REFERENCES: dict[str, Reference] = {
    **{f"log_return_{n}": lambda bars, _, n=n: np.log(bars.close).diff(n) for n in PERIODS},
    **{f"return_{n}": lambda bars, _, n=n: bars.close.pct_change(n) for n in PERIODS},
    "gap": lambda bars, _: bars.open / bars.close.shift(1) - 1,
    **{f"drawdown_{n}": lambda bars, _, n=n: bars.close / bars.close.rolling(n).max() - 1 for n in (20, 63, 252)},
    "distance_52w_high": lambda bars, periods: bars.close / bars.high.rolling(_weeks_52(periods)).max() - 1,
    "distance_52w_low": lambda bars, periods: bars.close / bars.low.rolling(_weeks_52(periods)).min() - 1,
}


@pytest.mark.parametrize("metric", REFERENCES)
def test_return_metrics_equal_the_reference(metric: str) -> None:
    assert_equals_reference(metric, REFERENCES[metric])


def test_52_weeks_of_an_exchange_are_known_with_252_bars() -> None:
    for metric in ("distance_52w_high", "distance_52w_low"):
        known = ~np.isnan(market().of(metric, "share"))
        assert int(np.argmax(known)) == 251
