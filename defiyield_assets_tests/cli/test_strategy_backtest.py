"""What `defiyield backtest` prints of one run: what became of orders, and whose multiples costs are.

Not here: the command over stored bars (test_lab.py), the engine.
"""

from datetime import date

import pandas as pd
import pytest
from rich.console import Console

from defiyield_assets.cli.strategy_backtest import Wish, of_usual_costs, print_refusals


@pytest.mark.parametrize(
    ("refusals", "n_trades", "words"),
    [
        ({}, 3, "every order was filled"),
        ({}, 0, "no order was ever made"),
        ({"no cash or no size": 1_200}, 0, "orders that were not filled: no cash or no size 1,200"),
    ],
)
def test_what_became_of_orders_is_told(refusals: dict[str, int], n_trades: int, words: str) -> None:
    console = Console(record=True, width=200)
    print_refusals(refusals, n_trades, console)
    assert console.export_text().strip() == words


def test_costs_are_multiples_of_the_usual_ones_whatever_was_asked_for() -> None:
    wish = Wish("sma_cross", date(2024, 1, 1), date(2024, 2, 1), 2.0, 100_000.0, None)
    grid = pd.DataFrame({"cost_factor": [0.0, 1.0, 2.0]})
    assert of_usual_costs(grid, wish).tolist() == [0.0, 2.0, 4.0]
