"""Ranks of strategies over many scenarios: percentiles in each, averaged inside a family and then across families.

Lives here: scores, ranks, eligibility, dispersion, worst scenario, performance by regime. Not here: the figures of a
run (metrics.py), how far a Sharpe ratio is luck (evidence.py), the page that shows it (tear_sheet.py).

A percentile is the share of the other strategies that a strategy does better than in a scenario, ties counting half:
0 the worst, 1 the best. A null is below every value and has percentile 0, so that what is not known never helps; a
strategy that was not run in a scenario has nulls there. Two nulls are none of that kind: who was run and never moved
has no Sharpe ratio because nothing was risked, and is ranked as the ratio of cash, 0; who has too few bars of a regime
is not compared in it, since a market without turbulence is no fault of those who trade it. Where nobody has a value,
the scenario says nothing of that figure. A strategy alone has .5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from defiyield_assets.domain.strategies.bars import Matrix, Vector
from defiyield_assets.errors import SuspiciousDataError

WEIGHTS: Mapping[str, float] = {
    "sharpe": 0.30,
    "return": 0.20,
    "drawdown": 0.20,
    "consistency": 0.15,
    "regime": 0.15,
}
FIGURES: Mapping[str, str] = {"sharpe": "sharpe", "return": "total_return", "drawdown": "max_drawdown"}
"""Component -> the column that it ranks; of a drawdown, the smaller fall is the better one whatever its sign."""
REGIME_SHARPE = "regime_sharpe_"
REGIME_RETURN = "regime_return_"
RUIN = -0.9
"""A total return at or below this is ruin."""
DIGITS = 12
"""Decimals of scores: equal ones are equal."""


@dataclass(frozen=True)
class RankingRules:
    """Weights of components, and what a strategy needs to be given a rank."""

    weights: Mapping[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    least_trades: int = 10
    least_families: int = 2
    least_share_of_scenarios: float = 0.9

    def __post_init__(self) -> None:
        """ValueError for unknown components, negative weights or none at all."""
        unknown = set(self.weights) - set(WEIGHTS)
        if unknown or min(self.weights.values(), default=0.0) < 0.0 or sum(self.weights.values()) <= 0.0:
            raise ValueError(f"weights are of {', '.join(WEIGHTS)}, none negative and not all 0: {dict(self.weights)}")


@dataclass(frozen=True)
class Ranking:
    """`table`: one row a strategy, best first, those without a rank last. `families`: strategy_id, family and the
    average percentile of every component there. `scenarios`: strategy_id, scenario_id, family, score (that of Sharpe,
    return and drawdown), total_return, excess_return. `regimes`: strategy_id, regime, sharpe
    and return (medians over scenarios), n_scenarios, sharpe_percentile.
    """

    table: pd.DataFrame
    families: pd.DataFrame
    scenarios: pd.DataFrame
    regimes: pd.DataFrame


def rank_strategies(results: pd.DataFrame, rules: RankingRules | None = None) -> Ranking:
    """The ranking of all strategies in `results`, one row a strategy and scenario.

    Columns: strategy_id, scenario_id, family, sharpe, total_return, max_drawdown, excess_return (against buy and hold
    of the same scenario), n_trades, regime_sharpe_<regime> and regime_return_<regime> for any regimes, is_in_sample
    and is_stub (optional). Columns of `table`:
      rank (null where not eligible; equal scores share one), score (weighted mean of the component percentiles; a
      component that no scenario speaks of has no weight), <component>_percentile, consistency (share of scenarios with
      positive excess return, by family and then across), worst_regime, dispersion (standard deviation of the scenario
      scores, every family weighing the same), worst_scenario and worst_return (least total return), n_scenarios,
      n_families, n_trades, is_eligible, eligibility_flags.
    Flags: too_few_trades, too_few_families, too_few_scenarios (share of all scenarios with a return), ruin, in_sample,
    stub (follows the stand-in of a model).
    SuspiciousDataError for missing columns, a run that is there twice, or a scenario of two families.
    """
    told = RankingRules() if rules is None else rules
    field_ = _field(_checked(results))
    single = {component: percentiles(field_.figures[column]) for component, column in FIGURES.items()}
    single["sharpe"] = percentiles(_sharpe_of_all(field_))
    names = [name for name in field_.figures if name.startswith(REGIME_SHARPE)]
    regimes = {name: percentiles(field_.figures[name], is_unknown_worst=False) for name in names}
    shares = _consistency(field_)
    by_family = {component: field_.by_family(values) for component, values in {**single, **regimes}.items()}
    by_family["consistency"] = percentiles(shares)
    across = {component: mean_of_known(values) for component, values in by_family.items()}
    of_regimes = {name.removeprefix(REGIME_SHARPE): across[name] for name in regimes}
    components = {name: across[name] for name in (*FIGURES, "consistency")}
    components["regime"], worst_regime = _worst(of_regimes, len(field_.ids))
    scores = _weighted(single, told.weights)
    table = _facts(field_, scores, told)
    table.insert(1, "score", _weighted(components, told.weights))
    for component in WEIGHTS:
        table[f"{component}_percentile"] = components[component]
    table["consistency"] = mean_of_known(shares)
    table["worst_regime"] = worst_regime
    eligible = table["score"].where(table["is_eligible"])
    table.insert(0, "rank", eligible.rank(method="min", ascending=False).astype("Int64"))
    table = table.sort_values(["is_eligible", "score", "strategy_id"], ascending=[False, False, True])
    return Ranking(
        table.reset_index(drop=True),
        _family_rows(field_, by_family),
        _scenario_rows(field_, scores),
        _regime_rows(field_, of_regimes),
    )


def percentiles(values: Matrix, *, is_unknown_worst: bool = True) -> Matrix:
    """Percentile of each column among the columns of its row, (scenarios, strategies); the greater the better.

    NaN is below every value and has 0, or stays NaN and is nobody's rival; a row of NaN only stays NaN; who has no
    rival has .5.
    """
    found = np.full(values.shape, np.nan)
    for row, told in zip(found, values, strict=True):
        known = ~np.isnan(told)
        if not known.any():
            continue
        n_below = int((~known).sum()) if is_unknown_worst else 0
        n_rivals = n_below + int(known.sum()) - 1
        row[~known] = 0.0 if is_unknown_worst else np.nan
        ordered = np.sort(told[known])
        worse = np.searchsorted(ordered, told[known], side="left")
        not_better = np.searchsorted(ordered, told[known], side="right")
        row[known] = (n_below + (worse + not_better - 1.0) / 2.0) / n_rivals if n_rivals else 0.5
    return found


def mean_of_known(values: Matrix) -> Vector:
    """Mean of each column over the rows that are known; NaN where none is."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    means: Vector = np.where(counts > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(counts, 1), np.nan)
    return means


# --- the field -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Field:
    """All results as matrices (scenarios, strategies), NaN where there is none."""

    ids: list[str]
    scenario_ids: list[str]
    families: np.ndarray[tuple[int, ...], np.dtype[np.str_]]
    figures: Mapping[str, Matrix]
    was_run: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    in_sample: frozenset[str]
    stubs: frozenset[str]

    @property
    def family_names(self) -> list[str]:
        """Families in order."""
        return sorted(set(self.families.tolist()))

    def by_family(self, values: Matrix) -> Matrix:
        """Means over the scenarios of each family that are known, (families, strategies)."""
        means: Matrix = np.array([mean_of_known(values[self.families == family]) for family in self.family_names])
        return means


def _checked(results: pd.DataFrame) -> pd.DataFrame:
    needed = ("strategy_id", "scenario_id", "family", *FIGURES.values(), "excess_return", "n_trades")
    missing = [name for name in needed if name not in results]
    if missing or results.empty:
        raise SuspiciousDataError(f"results to rank lack {', '.join(missing) or 'rows'}")
    twice = results.duplicated(["strategy_id", "scenario_id"])
    if twice.any():
        first = results[twice].iloc[0]
        raise SuspiciousDataError(f"{first['strategy_id']} has two results in scenario {first['scenario_id']}")
    families = results.groupby("scenario_id")["family"].nunique(dropna=False)
    if (families > 1).any():
        raise SuspiciousDataError(f"scenario {families.idxmax()} is of two families")
    regimes = [str(name) for name in results.columns if str(name).startswith((REGIME_SHARPE, REGIME_RETURN))]
    runs = results.copy()
    numbers = [*FIGURES.values(), "excess_return", "n_trades", *regimes]
    runs[numbers] = runs[numbers].astype(float).replace([np.inf, -np.inf], np.nan)
    runs["max_drawdown"] = -runs["max_drawdown"].abs()
    return runs


def _field(runs: pd.DataFrame) -> _Field:
    ids = sorted(set(runs["strategy_id"].tolist()))
    family_of = dict(zip(runs["scenario_id"], runs["family"].astype(str), strict=True))
    scenario_ids = sorted(family_of, key=lambda one: (family_of[one], one))
    column = np.searchsorted(ids, runs["strategy_id"].to_numpy(dtype=str))
    place = {one: number for number, one in enumerate(scenario_ids)}
    row = runs["scenario_id"].map(place).to_numpy(dtype=int)
    names = [*FIGURES.values(), "excess_return", "n_trades"]
    names += [str(name) for name in runs.columns if str(name).startswith((REGIME_SHARPE, REGIME_RETURN))]
    figures = {}
    for name in names:
        matrix = np.full((len(scenario_ids), len(ids)), np.nan)
        matrix[row, column] = runs[name].to_numpy(dtype=float)
        figures[name] = matrix
    was_run = np.zeros((len(scenario_ids), len(ids)), dtype=bool)
    was_run[row, column] = True
    seen, stubs = (_marked(runs, name) for name in ("is_in_sample", "is_stub"))
    families = np.array([family_of[one] for one in scenario_ids])
    return _Field(ids, scenario_ids, families, figures, was_run, seen, stubs)


def _marked(runs: pd.DataFrame, name: str) -> frozenset[str]:
    """Strategies with a run that a column marks, where there is the column."""
    return frozenset(runs.loc[runs[name].eq(other=True), "strategy_id"]) if name in runs else frozenset()


# --- parts ---------------------------------------------------------------------------------------------------------
def _consistency(told: _Field) -> Matrix:
    """Share of each family's scenarios with positive excess return; a null is not positive unless nobody has one."""
    excess = told.figures["excess_return"]
    is_known = ~np.isnan(excess).all(axis=1, keepdims=True)
    return told.by_family(np.where(is_known, excess > 0.0, np.nan))


def _sharpe_of_all(told: _Field) -> Matrix:
    """Sharpe ratios; 0, that of cash, for a run that has a return and no ratio because it never moved."""
    sharpe = told.figures["sharpe"]
    is_idle = np.isnan(sharpe) & (told.figures["total_return"] == 0.0)
    return np.where(is_idle, 0.0, sharpe)


def _weighted(parts: Mapping[str, Matrix], weights: Mapping[str, float]) -> Matrix:
    """Weighted mean of parts of equal shape; one that is NaN has no weight there."""
    total: Matrix = np.zeros(next(iter(parts.values())).shape)
    weight = np.zeros(total.shape)
    for name, values in parts.items():
        known = ~np.isnan(values)
        total += np.where(known, values, 0.0) * weights.get(name, 0.0)
        weight += known * weights.get(name, 0.0)
    means: Matrix = np.where(weight > 0.0, total / np.where(weight > 0.0, weight, 1.0), np.nan)
    return np.round(means, DIGITS)


def _worst(regimes: Mapping[str, Vector], n_strategies: int) -> tuple[Vector, list[str | None]]:
    """The lowest percentile among the regimes that are known, and which regime has it."""
    lowest = np.full(n_strategies, np.nan)
    worst: list[str | None] = [None] * n_strategies
    for regime in sorted(regimes):
        for number, value in enumerate(regimes[regime]):
            if np.isfinite(value) and not value >= lowest[number]:
                lowest[number], worst[number] = value, regime
    return lowest, worst


def _facts(told: _Field, scores: Matrix, rules: RankingRules) -> pd.DataFrame:
    """Counts, dispersion, worst scenario and flags of every strategy."""
    returns = told.figures["total_return"]
    rows = []
    for number, name in enumerate(told.ids):
        own, known = returns[:, number], ~np.isnan(returns[:, number])
        worst = int(np.nanargmin(own)) if known.any() else None
        is_scored = told.was_run[:, number] & ~np.isnan(scores[:, number])
        n_families = len(set(told.families[known].tolist()))
        n_trades = int(np.nansum(told.figures["n_trades"][:, number]))
        conditions = {
            "too_few_trades": n_trades < rules.least_trades,
            "too_few_families": n_families < rules.least_families,
            "too_few_scenarios": int(known.sum()) < rules.least_share_of_scenarios * len(told.scenario_ids),
            "ruin": worst is not None and bool(own[worst] <= RUIN),
            "in_sample": name in told.in_sample,
            "stub": name in told.stubs,
        }
        flags = tuple(flag for flag, holds in conditions.items() if holds)
        rows.append(
            {
                "strategy_id": name,
                "dispersion": _dispersion(scores[is_scored, number], told.families[is_scored]),
                "worst_scenario": None if worst is None else told.scenario_ids[worst],
                "worst_return": np.nan if worst is None else float(own[worst]),
                "n_scenarios": int(known.sum()),
                "n_families": n_families,
                "n_trades": n_trades,
                "is_eligible": not flags,
                "eligibility_flags": flags,
            }
        )
    return pd.DataFrame(rows)


def _dispersion(scores: Vector, families: "np.ndarray[tuple[int, ...], np.dtype[np.str_]]") -> float:
    """Standard deviation of scores in which every family weighs the same; NaN under two scores."""
    if len(scores) < 2:
        return float("nan")
    _, number, counts = np.unique(families, return_inverse=True, return_counts=True)
    weights = 1.0 / counts[number] / len(counts)
    return float(np.sqrt(np.sum(weights * (scores - np.sum(weights * scores)) ** 2)))


def _family_rows(told: _Field, by_family: Mapping[str, Matrix]) -> pd.DataFrame:
    """Percentiles by strategy and family, one column a component."""
    n_families = len(told.family_names)
    frame = pd.DataFrame(
        {
            "strategy_id": np.repeat(np.array(told.ids, dtype=object), n_families),
            "family": np.tile(np.array(told.family_names, dtype=object), len(told.ids)),
        }
    )
    for component, values in by_family.items():
        frame[component] = values.T.ravel()
    return frame


def _scenario_rows(told: _Field, scores: Matrix) -> pd.DataFrame:
    """Every run with its score by the components that a single scenario has."""
    column, row = np.nonzero(told.was_run.T)
    frame = pd.DataFrame(
        {
            "strategy_id": np.array(told.ids, dtype=object)[column],
            "scenario_id": np.array(told.scenario_ids, dtype=object)[row],
            "family": told.families.astype(object)[row],
            "score": scores[row, column],
        }
    )
    for name in (*FIGURES.values(), "excess_return"):
        frame[name] = told.figures[name][row, column]
    return frame


def _regime_rows(told: _Field, ranked: Mapping[str, Vector]) -> pd.DataFrame:
    """Rows of `regime_performance`: medians over scenarios, how many there are, percentile of the Sharpe ratio."""
    unknown = np.full(told.was_run.shape, np.nan)
    rows = []
    for regime in sorted(ranked):
        sharpes = told.figures[REGIME_SHARPE + regime]
        returns = told.figures.get(REGIME_RETURN + regime, unknown)
        for number, name in enumerate(told.ids):
            n_scenarios = int((~np.isnan(sharpes[:, number])).sum())
            rows.append(
                (
                    *(name, regime, _median(sharpes[:, number]), _median(returns[:, number]), n_scenarios),
                    ranked[regime][number],
                )
            )
    columns = ["strategy_id", "regime", "sharpe", "return", "n_scenarios", "sharpe_percentile"]
    return pd.DataFrame(rows, columns=columns)


def _median(values: Vector) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else float("nan")
