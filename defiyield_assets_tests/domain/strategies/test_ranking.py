"""Tests of ranks over scenarios (ranking.py)."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import percentileofscore

from defiyield_assets.domain.strategies.ranking import WEIGHTS, RankingRules, percentiles, rank_strategies
from defiyield_assets.errors import SuspiciousDataError

EASY = RankingRules(least_trades=0, least_families=1)


def run(strategy: str, scenario: str, family: str, level: float, **more: object) -> dict[str, object]:
    """A run whose every figure is the better the greater `level` is."""
    return {
        "strategy_id": strategy,
        "scenario_id": scenario,
        "family": family,
        "sharpe": level,
        "total_return": level / 10.0,
        "max_drawdown": -1.0 / (2.0 + level),
        "excess_return": level,
        "n_trades": 5,
        **more,
    }


def made(seed: int, n_strategies: int = 4) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    scenarios = [(f"crisis{k}", "crisis") for k in range(3)] + [(f"boot{k}", "stochastic") for k in range(20)]
    return pd.DataFrame(
        run(f"s{number}", name, family, float(random.normal()), regime_sharpe_calm=float(random.normal()))
        for number in range(n_strategies)
        for name, family in scenarios
    )


def test_percentiles_are_the_share_of_others_that_are_worse_ties_by_half_and_nulls_last() -> None:
    told = percentiles(np.array([[3.0, 1.0, 2.0], [1.0, 1.0, 2.0], [np.nan, 1.0, np.nan], [np.nan] * 3]))
    expected = [[1.0, 0.0, 0.5], [0.25, 0.25, 1.0], [0.0, 1.0, 0.0], [np.nan] * 3]
    np.testing.assert_allclose(told, expected)
    np.testing.assert_allclose(percentiles(np.array([[7.0], [np.nan]])), [[0.5], [np.nan]])


@given(st.lists(st.integers(-5, 5), min_size=2, max_size=9))
def test_percentiles_agree_with_scipy(values: list[int]) -> None:
    told = percentiles(np.array([values], dtype=float))[0]
    for place, value in enumerate(values):
        others = values[:place] + values[place + 1 :]
        assert told[place] == pytest.approx(percentileofscore(others, value, "mean") / 100.0)


def test_fifty_bootstraps_do_not_outvote_three_crises() -> None:
    rows = [run("steady", f"c{k}", "crisis", 1.0) for k in range(3)]
    rows += [run("lucky", f"c{k}", "crisis", 0.0) for k in range(3)]
    rows += [run("steady", f"b{k}", "stochastic", 0.0) for k in range(50)]
    rows += [run("lucky", f"b{k}", "stochastic", 1.0) for k in range(50)]
    table = rank_strategies(pd.DataFrame(rows), EASY).table
    assert table["score"].tolist() == [0.5, 0.5]
    assert table["rank"].tolist() == [1, 1]
    assert table["strategy_id"].tolist() == ["lucky", "steady"]


def test_the_score_is_the_weighted_mean_worked_by_hand() -> None:
    """a: best Sharpe in both, worst return in x; b in between; excess of a is positive in one of two."""
    rows = pd.DataFrame(
        [
            run("a", "x", "f", 2.0, total_return=-0.1, max_drawdown=-0.5, excess_return=-1.0, regime_sharpe_calm=1.0),
            run("b", "x", "f", 1.0, total_return=0.3, max_drawdown=-0.1, excess_return=1.0, regime_sharpe_calm=0.0),
            run("a", "y", "g", 2.0, total_return=0.5, max_drawdown=-0.2, excess_return=1.0, regime_sharpe_rough=-3.0),
            run("b", "y", "g", 1.0, total_return=0.1, max_drawdown=-0.2, excess_return=1.0, regime_sharpe_rough=3.0),
        ]
    )
    table = rank_strategies(rows, EASY).table.set_index("strategy_id")
    # Sharpe 1 and 1; return 0 and 1; drawdown 0 and .5; consistency 0 (of b's 1) and .5 (tie); regimes calm 1, rough 0.
    assert table.loc["a", "score"] == pytest.approx(0.30 * 1.0 + 0.20 * 0.5 + 0.20 * 0.25 + 0.15 * 0.25 + 0.15 * 0.0)
    assert table.loc["b", "score"] == pytest.approx(0.30 * 0.0 + 0.20 * 0.5 + 0.20 * 0.75 + 0.15 * 0.75 + 0.15 * 0.0)
    assert table.loc["a", "worst_regime"] == "rough"
    assert table.loc["a", "consistency"] == 0.5
    assert (table.loc["a", "worst_scenario"], table.loc["a", "worst_return"]) == ("x", -0.1)
    assert sum(WEIGHTS.values()) == pytest.approx(1.0)


def test_a_drawdown_is_better_the_smaller_it_is_whatever_its_sign() -> None:
    rows = [run("deep", "x", "f", 0.0, max_drawdown=-0.6), run("flat", "x", "f", 0.0, max_drawdown=-0.1)]
    for sign in (1.0, -1.0):
        turned = pd.DataFrame(rows).assign(max_drawdown=lambda frame, sign=sign: sign * frame["max_drawdown"])
        table = rank_strategies(turned, EASY).table.set_index("strategy_id")
        assert table.loc["flat", "drawdown_percentile"] == 1.0
        assert table.loc["deep", "drawdown_percentile"] == 0.0


def test_what_is_not_known_never_helps() -> None:
    rows = made(1)
    before = rank_strategies(rows, EASY).table.set_index("strategy_id")["score"]
    gone = rows[~((rows["strategy_id"] == "s0") & rows["scenario_id"].isin(["crisis0", "boot3"]))]
    nulls = rows.copy()
    nulls.loc[(nulls["strategy_id"] == "s0") & (nulls["scenario_id"] == "crisis1"), ["sharpe", "total_return"]] = np.nan
    for changed in (gone, nulls):
        after = rank_strategies(changed, EASY).table.set_index("strategy_id")["score"]
        assert after["s0"] <= before["s0"]


def test_who_was_run_and_never_moved_is_ranked_as_cash() -> None:
    """Out of five crises without a loss is better than any loss, and no better a ratio than cash has."""
    rows = []
    for k in range(5):
        rows += [run("loser", f"c{k}", "crisis", -4.0), run("ruiner", f"c{k}", "crisis", -6.0)]
        rows.append(run("cash", f"c{k}", "crisis", 0.0, sharpe=None, max_drawdown=0.0))
        rows.append(run("winner", f"c{k}", "crisis", 2.0))
    table = rank_strategies(pd.DataFrame(rows), EASY).table.set_index("strategy_id")
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert table.index.tolist() == ["winner", "cash", "loser", "ruiner"]
    assert table.loc["cash", "sharpe_percentile"] == pytest.approx(2.0 / 3.0)


def test_a_market_without_a_regime_is_no_fault_of_those_who_trade_it() -> None:
    rows = []
    for k in range(3):
        for number, (name, calm) in enumerate((("coin1", 1.0), ("coin2", 0.5), ("stock1", 5.0), ("stock2", 4.0))):
            turbulent = None if name.startswith("stock") else -3.0 - number
            told = {"regime_sharpe_calm": calm, "regime_sharpe_turbulent": turbulent}
            rows.append(run(name, f"c{k}", "crisis", 1.0, **told))
    table = rank_strategies(pd.DataFrame(rows), EASY).table.set_index("strategy_id")
    assert table.loc["stock1", "regime_percentile"] == 1.0
    assert table.loc["stock1", "worst_regime"] == "calm"
    assert table.loc["coin2", "regime_percentile"] == 0.0
    assert table.index[0] == "stock1"


def test_a_figure_that_nobody_has_has_no_weight() -> None:
    rows = made(2).drop(columns="regime_sharpe_calm")
    table = rank_strategies(rows, EASY).table
    parts = table[["sharpe_percentile", "return_percentile", "drawdown_percentile", "consistency_percentile"]]
    expected = parts.to_numpy() @ np.array([0.30, 0.20, 0.20, 0.15]) / 0.85
    np.testing.assert_allclose(table["score"], expected)
    assert table["regime_percentile"].isna().all()


def test_flags_take_the_rank_and_are_told() -> None:
    rows = pd.DataFrame(
        [
            *[run("good", f"x{k}", "fg"[k % 2], 1.0) for k in range(10)],
            *[run("idle", f"x{k}", "fg"[k % 2], 9.0, n_trades=0) for k in range(10)],
            *[run("seen", f"x{k}", "fg"[k % 2], 9.0, is_in_sample=True) for k in range(10)],
            *[run("stand_in", f"x{k}", "fg"[k % 2], 9.0, is_stub=True) for k in range(10)],
            *[run("broke", f"x{k}", "fg"[k % 2], 9.0, total_return=-0.95) for k in range(10)],
            *[run("rare", f"x{k}", "f", 9.0) for k in range(0, 10, 2)],
        ]
    )
    table = rank_strategies(rows).table.set_index("strategy_id")
    assert table["eligibility_flags"].to_dict() == {
        "good": (),
        "idle": ("too_few_trades",),
        "seen": ("in_sample",),
        "stand_in": ("stub",),
        "broke": ("ruin",),
        "rare": ("too_few_families", "too_few_scenarios"),
    }
    assert table["rank"].dropna().to_dict() == {"good": 1}
    assert table.index[0] == "good"


def test_dispersion_is_the_deviation_of_scores_every_family_weighing_the_same() -> None:
    told = rank_strategies(made(3), EASY)
    own = told.scenarios[told.scenarios["strategy_id"] == "s1"]
    table = told.table.set_index("strategy_id")
    of_crises, of_boots = (own.loc[own["family"] == name, "score"] for name in ("crisis", "stochastic"))
    repeated = np.concatenate([np.repeat(of_crises, len(of_boots)), np.repeat(of_boots, len(of_crises))])
    assert table.loc["s1", "dispersion"] == pytest.approx(float(np.std(repeated)))
    assert len(told.families) == 4 * 2
    assert set(told.regimes.columns) >= {"strategy_id", "regime", "sharpe", "sharpe_percentile", "n_scenarios"}


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 10_000))
def test_order_of_rows_and_monotone_changes_of_figures_do_not_matter(seed: int) -> None:
    rows = made(seed)
    first = rank_strategies(rows, EASY)
    mixed = rows.sample(frac=1.0, random_state=seed)
    pd.testing.assert_frame_equal(rank_strategies(mixed, EASY).table, first.table)
    stretched = rows.assign(sharpe=np.exp(rows["sharpe"]))
    again = rank_strategies(stretched, EASY).table
    pd.testing.assert_series_equal(again["score"], first.table["score"])
    assert first.table["score"].between(0.0, 1.0).all()
    assert first.table["sharpe_percentile"].mean() == pytest.approx(0.5)


def test_better_in_everything_is_first_with_one() -> None:
    rows = pd.DataFrame(
        run(name, f"x{k}", "fgh"[k % 3], level + k)
        for k in range(9)
        for name, level in (("a", 0.0), ("b", 1.0), ("c", 2.0))
    )
    table = rank_strategies(rows, EASY).table
    assert table["strategy_id"].tolist() == ["c", "b", "a"]
    assert table["score"].iloc[0] > table["score"].iloc[1]


def test_hostile_tables_are_refused() -> None:
    rows = made(1)
    with pytest.raises(SuspiciousDataError, match="lack sharpe"):
        rank_strategies(rows.drop(columns="sharpe"))
    with pytest.raises(SuspiciousDataError, match="lack rows"):
        rank_strategies(rows[:0])
    with pytest.raises(SuspiciousDataError, match="s0 has two results in scenario crisis0"):
        rank_strategies(pd.concat([rows, rows[:1]]))
    with pytest.raises(SuspiciousDataError, match="scenario crisis0 is of two families"):
        rank_strategies(rows.assign(family=["x", *rows["family"][1:]]))
    with pytest.raises(ValueError, match="weights are of"):
        RankingRules({"luck": 1.0})
    alone = rank_strategies(rows[rows["strategy_id"] == "s0"], EASY).table
    assert alone["score"].tolist() == [0.5]
    nothing = rows.assign(sharpe=np.nan, total_return=np.inf, max_drawdown=np.nan)
    assert set(rank_strategies(nothing).table["eligibility_flags"].iloc[0]) >= {"too_few_scenarios"}
