"""A price history refuses what no market can be."""

import numpy as np
import pytest

from defiyield_assets.domain.strategies.bars import price_history
from defiyield_assets.domain.strategies.runs import run
from defiyield_assets_tests.domain.strategies.histories import random_walk, strategy_of

DAYS = np.datetime64("2024-01-01") + np.arange(3)
CLOSE = np.array([[1.0], [2.0], [3.0]])


def test_shapes_dates_and_prices_have_to_fit() -> None:
    with pytest.raises(ValueError, match="close has the shape"):
        price_history(["a", "b"], DAYS, {"close": CLOSE})
    with pytest.raises(ValueError, match="dates have to ascend"):
        price_history(["a"], DAYS[::-1], {"close": CLOSE})
    with pytest.raises(ValueError, match="not positive and finite"):
        price_history(["a"], DAYS, {"close": CLOSE - 1.0})
    with pytest.raises(ValueError, match="first_scored 4"):
        price_history(["a"], DAYS, {"close": CLOSE}, first_scored=4)


def test_an_earlier_history_is_the_later_one_cut() -> None:
    walk = random_walk(1, 50, 2, ("sma_10",), first_scored=20)
    early = walk.until(30)
    assert early.n_bars == 30
    assert np.array_equal(early.features["sma_10"], walk.features["sma_10"][:30], equal_nan=True)


def test_a_history_without_a_bar_to_trade_at_is_not_run() -> None:
    text = "id: one\nversion: 1\nuniverse: all\ntype: allocation\n"
    with pytest.raises(ValueError, match="a bar to decide on and one to trade at"):
        run(strategy_of(text), price_history(["a"], DAYS[:1], {"close": CLOSE[:1]}))
