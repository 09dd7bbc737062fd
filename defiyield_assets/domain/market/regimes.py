"""Regimes: in which of three states of volatility a market is, judged from its daily returns up to the day only.

Lives here: the Markov-switching model, its fit by quarter and the forward filter. Not here: bars (domain/prices), what
strategies make of a state, pictures (plots.py).

Returns of a day are normal with the mean and variance of the day's state; the state is a Markov chain (Hamilton 1989,
"A new approach to the economic analysis of nonstationary time series and the business cycle"). A row for day D holds
filtered probabilities P(state of D | returns up to D): smoothed ones would know what came after. The parameters know
only returns from before D's quarter.
"""

import hashlib
import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.market.features.panel import Matrix, Vector
from defiyield_assets.errors import SuspiciousDataError

MARKETS: Mapping[str, str] = {"crypto": "crypto:BTC", "us_equities": "etf:SPY"}
"""Market -> the instrument whose returns speak for it."""
STATES = ("calm", "normal", "turbulent")
"""By volatility, the least first."""
LEAST_RETURNS = 250
"""Fewer returns before a quarter give no model, and so its days no row."""
MOST_RETURNS = 1_500
LEAST_STAY = 0.95
"""Least probability of staying in a state: a regime lasts 20 days and more on average. Without it the states of coins
last two days, since their returns have fat tails: then they sort single days by size and tell of no regime.
"""
READ_DAYS = 2_500
"""Days before a day that hold MOST_RETURNS sessions and its quarter, holidays included."""
RETURN_DECIMALS = 8
"""Decimals of log returns: a restated adjustment factor changes the last bits of a quotient, and nothing may follow."""
LEAST_STEPS, MOST_STEPS, TOLERANCE = 20, 500, 1e-8
"""Steps of a fit, and the relative gain of log-likelihood below which it ends."""
STARTS = ((1 / 3, 2 / 3), (0.5, 0.85), (0.6, 0.95))
"""Where fits start: days cut at these quantiles of the variance around them."""
VARIANCE_DAYS = 21
LEAST_VARIANCE = 1 / 400
"""Least variance of a state as a share of that of all returns: no state shrinks to a few equal days."""
SHOWN_DIGITS = 12
COLUMNS = (
    *("market", "date", "instrument_id", "state", "p_calm", "p_normal", "p_turbulent"),
    *("fitted_through", "n_returns", "model_json"),
)


@dataclass(frozen=True)
class RegimeModel:
    """Parameters of one fit, states ordered by volatility.

    `means`, `variances`: of daily log returns, by state. `transition[i][j]`: probability of state j after state i.
    `returns_sha256`: fingerprint of the returns that it was fitted on, so that it is used again for no others.
    """

    means: tuple[float, ...]
    variances: tuple[float, ...]
    transition: tuple[tuple[float, ...], ...]
    log_likelihood: float
    returns_sha256: str

    def to_json(self) -> str:
        """The parameters as text that gives back the very same numbers."""
        return json.dumps(
            {
                "states": list(STATES),
                "means": self.means,
                "variances": self.variances,
                "transition": self.transition,
                "log_likelihood": self.log_likelihood,
                "returns_sha256": self.returns_sha256,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "RegimeModel":
        """The model of `to_json`; SuspiciousDataError for any other text."""
        try:
            told = json.loads(text)
            return cls(
                tuple(map(float, told["means"])),
                tuple(map(float, told["variances"])),
                tuple(tuple(map(float, row)) for row in told["transition"]),
                float(told["log_likelihood"]),
                str(told["returns_sha256"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise SuspiciousDataError(f"market_regimes.model_json is not a model: {error}") from error


# --- returns and quarters ------------------------------------------------------------------------------------------
def market_returns(bars: pd.DataFrame) -> "pd.Series[float]":
    """Log returns between neighbouring bars by the date of the later one, from columns date, close and adj_factor.

    Bars without a positive price are left out. Rounded to RETURN_DECIMALS.
    """
    prices = (bars["close"] * bars["adj_factor"]).to_numpy(dtype=np.float64)
    ordered = pd.Series(prices, index=bars["date"].tolist(), dtype=np.float64).sort_index()
    known = ordered[ordered > 0.0]
    steps = np.round(np.diff(np.log(known.to_numpy())), RETURN_DECIMALS)
    return pd.Series(steps, index=known.index[1:], dtype=np.float64)


def quarter_start(day: date) -> date:
    """First day of the calendar quarter."""
    return date(day.year, 3 * ((day.month - 1) // 3) + 1, 1)


def fingerprint(returns: Vector) -> str:
    """SHA-256 of returns, in order."""
    return hashlib.sha256(np.ascontiguousarray(returns, dtype="<f8").tobytes()).hexdigest()


# --- the fit -------------------------------------------------------------------------------------------------------
def fit_regimes(returns: Vector) -> RegimeModel | None:
    """The model of greatest likelihood that stays in its states (LEAST_STAY), of those that the STARTS lead to.

    Expectation-maximisation: the expectation is statsmodels' smoother over these same returns, the maximisation is in
    closed form (Hamilton 1990, "Analysis of time series subject to changes in regime"), where a probability of staying
    below the bound is put on it and the row's others are scaled. The same returns give the same model. None where
    there is nothing to tell apart: fewer than LEAST_RETURNS, or no variance.
    """
    if len(returns) < LEAST_RETURNS:
        return None
    scale = float(np.std(returns))
    if not np.isfinite(scale) or scale <= 0.0:
        return None
    found = [fit for start in _starts(returns / scale) if (fit := _maximise(returns / scale, start)) is not None]
    if not found:
        return None
    likelihood, (means, variances, transition) = max(found, key=lambda fit: fit[0])
    order = np.argsort(variances, kind="stable")
    return RegimeModel(
        _numbers(means[order] * scale),
        _numbers(variances[order] * scale**2),
        tuple(_numbers(row) for row in transition[np.ix_(order, order)]),
        float(likelihood - len(returns) * np.log(scale)),
        fingerprint(returns),
    )


Parameters = tuple[Vector, Vector, Matrix]
"""Means, variances and transition matrix (rows: from)."""


def _numbers(values: Vector) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _starts(returns: Vector) -> Iterator[Parameters]:
    """Days parted by the variance around them; states last long."""
    squares = pd.Series(returns**2).rolling(VARIANCE_DAYS, center=True, min_periods=1).mean().to_numpy()
    n_states = len(STATES)
    transition = np.full((n_states, n_states), 0.01) + np.eye(n_states) * (1.0 - 0.01 * n_states)
    for cut in STARTS:
        part = np.searchsorted(np.quantile(squares, cut), squares, side="left")
        if len(set(part.tolist())) == n_states:
            inside = [returns[part == state] for state in range(n_states)]
            yield (
                np.array([days.mean() for days in inside]),
                np.maximum([days.var() for days in inside], LEAST_VARIANCE),
                transition,
            )


def _maximise(returns: Vector, start: Parameters) -> tuple[float, Parameters] | None:
    """Log-likelihood and parameters where expectation-maximisation comes to rest; None where it leads nowhere."""
    from statsmodels.tsa.regime_switching.markov_regression import MarkovRegression

    model = MarkovRegression(returns, k_regimes=len(STATES), trend="c", switching_variance=True)
    parameters, best = start, -np.inf
    for step in range(MOST_STEPS):
        smoothed = model.smooth(_library_parameters(parameters), return_raw=True)
        likelihood = float(smoothed.llf)
        weights = np.asarray(smoothed.smoothed_marginal_probabilities)
        if not np.isfinite(likelihood) or not np.isfinite(weights).all() or weights.sum(axis=1).min() <= 0.0:
            return None
        if step >= LEAST_STEPS and likelihood - best < TOLERANCE * abs(best):
            return likelihood, parameters
        best = likelihood
        moves = np.asarray(smoothed.smoothed_joint_probabilities).sum(axis=2).T
        parameters = _reestimated(returns, weights, moves)
    return best, parameters


def _reestimated(returns: Vector, weights: Matrix, moves: Matrix) -> Parameters:
    """Maximisation: moments weighted by the probabilities of states (states, days), shares of moves (from, to)."""
    totals = weights.sum(axis=1)
    means = weights @ returns / totals
    variances = (weights * (returns[None, :] - means[:, None]) ** 2).sum(axis=1) / totals
    return means, np.maximum(variances, LEAST_VARIANCE), _staying(moves)


def _staying(moves: Matrix) -> Matrix:
    """Rows of moves as probabilities, the diagonal at least LEAST_STAY: the most likely matrix of that kind."""
    transition: Matrix = moves / moves.sum(axis=1, keepdims=True)
    for state in range(len(transition)):
        if transition[state, state] < LEAST_STAY:
            leaving = transition[state].copy()
            leaving[state] = 0.0
            transition[state] = leaving * (1.0 - LEAST_STAY) / leaving.sum()
            transition[state, state] = LEAST_STAY
    return transition


def _library_parameters(parameters: Parameters) -> Vector:
    """In statsmodels' order: p[0->0], p[1->0], ..., p[k-1->k-2] (the last state's share is what remains)."""
    means, variances, transition = parameters
    ordered: Vector = np.concatenate([transition[:, :-1].T.ravel(), means, variances])
    return ordered


# --- the filter ----------------------------------------------------------------------------------------------------
def filtered_probabilities(model: RegimeModel, returns: Vector) -> Matrix:
    """P(state of a day | returns up to it), (days, states), beginning with the chain's long-run shares."""
    transition = np.array(model.transition)
    means, variances = np.array(model.means), np.array(model.variances)
    log_density = -0.5 * ((returns[:, None] - means) ** 2 / variances + np.log(2.0 * np.pi * variances))
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True))
    filtered: Matrix = np.empty((len(returns), len(means)))
    state = long_run_shares(transition)
    for day, likelihood in enumerate(density):
        joint = (state @ transition) * likelihood
        state = joint / joint.sum()
        filtered[day] = state
    return filtered


def long_run_shares(transition: Matrix) -> Vector:
    """The shares of days that a chain spends in its states in the long run: shares @ transition = shares."""
    n_states = len(transition)
    equations = np.vstack([transition.T - np.eye(n_states), np.ones(n_states)])
    shares = np.clip(np.linalg.lstsq(equations, np.append(np.zeros(n_states), 1.0), rcond=None)[0], 0.0, 1.0)
    whole: Vector = shares / shares.sum()
    return whole


# --- rows ----------------------------------------------------------------------------------------------------------
def regimes_of(market: str, bars: pd.DataFrame, days: DayRange, models: Iterable[RegimeModel] = ()) -> pd.DataFrame:
    """Rows of `market_regimes` for the bars of a market's instrument inside `days`; COLUMNS.

    `bars`: date, close and adj_factor of the last READ_DAYS before the range and of the range itself. `models` are
    ones fitted before: one is used where it knows exactly the returns that would be fitted, so that what comes out
    never depends on which there are. A day without a bar has no row, nor has one whose quarter begins with fewer than
    LEAST_RETURNS returns known.
    """
    known = {model.returns_sha256: model for model in models}
    returns = market_returns(bars[bars["date"] <= days.end])
    wanted = [day for day in returns.index if day in days]
    frames = [
        _quarter(market, returns, start, [day for day in wanted if quarter_start(day) == start], known)
        for start in sorted({quarter_start(day) for day in wanted})
    ]
    filled = [frame for frame in frames if len(frame)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(COLUMNS))


def _quarter(
    market: str, returns: "pd.Series[float]", start: date, days: list[date], models: Mapping[str, RegimeModel]
) -> pd.DataFrame:
    """Rows of some days of one quarter; the filter begins with the first return that the fit knows."""
    known = returns.index.tolist()
    values: Vector = np.asarray(returns.to_numpy(), dtype=np.float64)
    end = bisect_left(known, start)
    first = max(0, end - MOST_RETURNS)
    fitted: Vector = values[first:end]
    model = models.get(fingerprint(fitted)) or fit_regimes(fitted)
    if model is None:
        return pd.DataFrame(columns=list(COLUMNS))
    through = bisect_right(known, days[-1])
    probabilities = filtered_probabilities(model, values[first:through])
    of_days = np.round(probabilities[[bisect_left(known, day) - first for day in days]], SHOWN_DIGITS)
    return pd.DataFrame(
        {
            "market": market,
            "date": days,
            "instrument_id": MARKETS[market],
            "state": [STATES[number] for number in of_days.argmax(axis=1)],
            **{f"p_{state}": of_days[:, number] for number, state in enumerate(STATES)},
            "fitted_through": known[end - 1],
            "n_returns": len(fitted),
            "model_json": model.to_json(),
        },
        columns=list(COLUMNS),
    )


def mislabelled(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of `market_regimes` whose probabilities do not sum to one, whose state is not the most probable, or
    whose model knows the quarter that it speaks of.
    """
    shares = rows[[f"p_{state}" for state in STATES]].to_numpy(dtype=np.float64)
    told = np.array([STATES.index(state) for state in rows["state"]], dtype=int)
    is_whole = np.abs(shares.sum(axis=1) - 1.0) <= 1e-9
    is_top = shares[np.arange(len(rows)), told] >= shares.max(axis=1, initial=0.0)
    is_earlier = np.array(
        [through < quarter_start(day) for day, through in zip(rows["date"], rows["fitted_through"], strict=True)],
        dtype=bool,
    )
    broken: pd.DataFrame = rows[~(is_whole & is_top & is_earlier)].reset_index(drop=True)
    return broken
