"""Two yardsticks that know the future: forecasts that come true, and a bound that no strategy passes.

Lives here: foresight's forecasts, and the one linear programme over all days. Not here: the optimiser that foresight
runs through (strategies.py), the books (engine.py).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.allocation.backtest.records import KnownDay, RealisedYields
from defiyield_assets.domain.forecasting.models import Matrix
from defiyield_assets.domain.policy import GasUnits, Parameters, Policy
from defiyield_assets.domain.selection.final import select_eligible

FORESIGHT_DAYS = 7
FORESIGHT_BREAK_EVEN_DAYS = 10 * FORESIGHT_DAYS
"""Hysteresis off: whatever pays within the horizon, as the objective asks, is earned back ten times in so many days."""
TANGENT_SHARES = (0.0, 0.3, 0.6, 1.0)
"""Where the concave, diluted yield is touched by tangents, as shares of the largest position that the caps allow."""
TANGENT_REACH = 1.1
"""How far beyond the first day's pool cap tangents reach: wealth grows by about that much a year."""


def foresight(yields: RealisedYields, days: int = FORESIGHT_DAYS) -> Callable[[KnownDay], pd.DataFrame]:
    """Rows of `pool_forecasts` whose mean is what each pool will have paid on average over the next `days` days.

    Near the end of the recording over the days that are left; all quantiles are the mean.
    """

    def rows(known: KnownDay) -> pd.DataFrame:
        first = yields.column(known.day) + 1
        window = slice(first, min(first + days, yields.n_days))
        base, reward = yields.base[:, window].mean(axis=1), yields.reward[:, window].mean(axis=1)
        parts = []
        for target, mean in (("apy", base + reward), ("apy_base", base), ("apy_reward", reward)):
            told = dict.fromkeys(("mean", "p10", "p50", "p90"), mean)
            made = {"pool_id": yields.pool_ids, "as_of": known.day, "horizon_days": days, "target": target, **told}
            parts.append(pd.DataFrame(made).assign(model="foresight", is_hindsight=True))
        return pd.concat(parts, ignore_index=True)

    return rows


def enterable(known: KnownDay, policy: Policy, pool_ids: Iterable[str]) -> frozenset[str]:
    """Pools that the filters would let in on a day whatever was forecast of them."""
    horizon = policy.parameters.horizon_days
    promised = pd.DataFrame({"pool_id": list(pool_ids), "as_of": known.day, "horizon_days": horizon, "target": "apy"})
    promised = promised.assign(mean=policy.parameters.apy_plausible_max, is_hindsight=False)
    nothing = pd.DataFrame({"date": [], "chain_id": [], "pool_id": [], "underlying_amount": [], "shares": []})
    judged = select_eligible(
        known.prefiltered,
        known.quality,
        known.metrics,
        known.groups,
        promised,
        positions=nothing,
        icebox=known.icebox,
        pools=known.pools,
        policy=policy,
        day=known.day,
    )
    return frozenset(judged.loc[judged["is_passed"], "pool_id"])


@dataclass(frozen=True)
class PoolFacts:
    """What the bound must know of a pool of one token; `role` is lend or vault."""

    token: str
    issuer: str
    protocol: str
    role: str


@dataclass(frozen=True)
class Future:
    """What the bound knows of all days: evenings t = 0 … T-1, each followed by the paid day t+1.

    `growth` and `size`: pool by evening, of the day that is paid; `told_size`: as of the evening, which caps read;
    `may_enter`: pool by evening. `token`, `issuer` and `protocol` by pool, `cash`: share of capital by token at first.
    Gas of a deposit, a withdrawal and a swap in USD on the day that follows each evening.
    """

    growth: Matrix
    size: Matrix
    told_size: Matrix
    may_enter: NDArray[np.bool_]
    token: Sequence[str]
    issuer: Sequence[str]
    protocol: Sequence[str]
    cash: Mapping[str, float]
    capital_usd: float
    deposit_gas_usd: Matrix
    withdraw_gas_usd: Matrix
    swap_gas_usd: Matrix


def future_of(
    yields: RealisedYields,
    evenings: Sequence[date],
    enter: Mapping[date, frozenset[str]],
    facts: Mapping[str, PoolFacts],
    *,
    cash: Mapping[str, float],
    capital_usd: float,
    gas_usd: Sequence[float],
    units: GasUnits,
) -> Future:
    """Gather the bound's matrices; `facts` by pool; pools never let in are left out.

    `gas_usd` is the price of one gas unit on each paid day.
    """
    used = [pool for pool in yields.pool_ids if any(pool in enter[day] for day in evenings)]
    rows = [yields.row[pool] for pool in used]
    now = [yields.column(day) for day in evenings]
    paid = [yields.column(day + timedelta(days=1)) for day in evenings]
    return Future(
        growth=yields.daily[np.ix_(rows, paid)],
        size=yields.size[np.ix_(rows, paid)],
        told_size=yields.size[np.ix_(rows, now)],
        may_enter=np.array([[pool in enter[day] for day in evenings] for pool in used]),
        token=[facts[pool].token for pool in used],
        issuer=[facts[pool].issuer for pool in used],
        protocol=[facts[pool].protocol for pool in used],
        cash=cash,
        capital_usd=capital_usd,
        deposit_gas_usd=np.outer([units.approve + getattr(units, f"{facts[pool].role}_in") for pool in used], gas_usd),
        withdraw_gas_usd=np.outer([getattr(units, f"{facts[pool].role}_out") for pool in used], gas_usd),
        swap_gas_usd=(units.swap + units.approve) * np.asarray(gas_usd),
    )


def hindsight_bound(future: Future, parameters: Parameters, window_days: int = 1) -> float:
    """Final wealth (USD) that no strategy can pass which keeps the caps, pays gas and conversions and dilutes itself.

    One linear programme over all days. What is left out or relaxed makes it larger: minimum sizes, min_pools, the idle
    buffer, exit liquidity, forecasts (any pool that the other filters let in may be entered). Gas is a fixed cost: a
    deposit, a withdrawal or a sale of x out of at most X costs at least x/X of it. The diluted yield V·g·S/(S+V) is
    concave in V: its tangents lie above it. Caps are shares of the wealth before moving, as in the plan. Prices do not
    move.

    `window_days`: the bound holds for every strategy that brings its positions under the caps at least once in so
    many days. Where that is more than one, positions drift in between: each cap is widened by the largest growth of
    the window, and a cap of a pool's size is that of the largest size in it.
    """
    return _Programme(future, parameters, window_days).solve() * future.capital_usd


class _Rows:
    """Rows of a sparse constraint matrix, collected as triplets."""

    def __init__(self) -> None:
        self.rows: list[NDArray[np.int64]] = []
        self.columns: list[NDArray[np.int64]] = []
        self.values: list[Matrix] = []
        self.limits: list[Matrix] = []
        self.n = 0

    def add(self, limits: Matrix, *terms: tuple[NDArray[np.int64], Matrix | float]) -> None:
        """One row per element of `limits`; each term names a column per row (shape n or n x m) and its factor."""
        n = len(limits)
        if n == 0:
            return
        for columns, factor in terms:
            wide = columns.reshape(n, -1)
            own = np.repeat(np.arange(self.n, self.n + n), wide.shape[1])
            self.rows.append(own)
            self.columns.append(wide.ravel())
            each = np.asarray(factor, dtype=np.float64).reshape(-1, 1)
            self.values.append(np.broadcast_to(each, wide.shape).ravel())
        self.limits.append(np.asarray(limits, dtype=np.float64))
        self.n += n


def _stacked(first: _Rows, second: _Rows, n_columns: int) -> tuple[Any, Matrix]:
    """Both sets of rows as one column-wise sparse matrix, and their limits."""
    from scipy.sparse import coo_matrix

    rows = np.concatenate([*first.rows, *(part + first.n for part in second.rows)])
    columns = np.concatenate([*first.columns, *second.columns])
    values = np.concatenate([*first.values, *second.values])
    shape = (first.n + second.n, n_columns)
    return coo_matrix((values, (rows, columns)), shape=shape).tocsc(), np.concatenate([*first.limits, *second.limits])


class _Programme:
    """Columns by pool and evening: V (position after moving), y (its yield), d and w (moved in and out); by token and
    evening: K (money after moving), sold, bought; by evening: W (wealth before moving). Capital counts as 1.
    """

    def __init__(self, future: Future, parameters: Parameters, window_days: int) -> None:
        self.future, self.parameters, self.window_days = future, parameters, window_days
        self.n_pools, self.n_days = future.growth.shape
        self.tokens = sorted({*future.token, *future.cash})
        cells, money = self.n_pools * self.n_days, len(self.tokens) * self.n_days
        self.position = np.arange(cells).reshape(self.n_pools, self.n_days)
        self.paid, self.put, self.taken = (self.position + cells * place for place in (1, 2, 3))
        at = 4 * cells + np.arange(money).reshape(len(self.tokens), self.n_days)
        self.cash, self.sold, self.bought = at, at + money, at + 2 * money
        self.wealth = 4 * cells + 3 * money + np.arange(self.n_days)
        self.n_columns = int(4 * cells + 3 * money + self.n_days)
        self.equal, self.most = _Rows(), _Rows()

    def solve(self) -> float:
        """Largest final wealth for a capital of 1."""
        import highspy

        self._flows()
        self._caps()
        self._size_caps()
        self._yields()
        low, high = np.zeros(self.n_columns), np.full(self.n_columns, np.inf)
        low[self.paid] = -np.inf
        high[self.position] = self._largest()
        high[self.put[~self.future.may_enter]] = 0.0
        n_most, n_equal = self.most.n, self.equal.n
        rows, limits = _stacked(self.most, self.equal, self.n_columns)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.n_columns, n_most + n_equal
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = self._aim(), low, high
        lp.row_upper_ = limits
        lp.row_lower_ = np.concatenate([np.full(n_most, -np.inf), limits[n_most:]])
        lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = rows.indptr, rows.indices, rows.data
        solver: Any = highspy.Highs()  # type: ignore[no-untyped-call]
        # the crossover to a vertex is where this programme fails numerically; an inner solution is as good a bound
        options = {"output_flag": False, "solver": "ipm", "run_crossover": "off", "threads": 1}
        for name, value in options.items():
            solver.setOptionValue(name, value)
        solver.passModel(lp)
        solver.run()
        status = solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise ArithmeticError(f"the bound has no solution: {solver.modelStatusToString(status)}")
        info = solver.getInfo()
        # the dual bounds from above: by so much it may be over the value of the solution that was found
        return -float(info.objective_function_value) * (1.0 + abs(float(info.primal_dual_objective_error)))

    def _aim(self) -> Matrix:
        """Minus final wealth, plus what moving costs at least in gas."""
        aim = np.zeros(self.n_columns)
        last = self.n_days - 1
        for block in (self.position, self.paid, self.cash):
            aim[block[:, last]] = -1.0
        capital, wealth = self.future.capital_usd, self._most_wealth()
        most = np.minimum(self._largest(), self._widened(self.parameters.max_pool_share) * wealth)
        most = np.maximum(most, 1.0 / capital)
        out = np.concatenate([most[:, :1], most[:, :-1] * (1.0 + np.maximum(self.future.growth[:, :-1], 0.0))], axis=1)
        aim[self.put] = self.future.deposit_gas_usd / capital / most
        aim[self.taken] = self.future.withdraw_gas_usd / capital / out
        aim[self.sold] = self.future.swap_gas_usd / capital / wealth
        return aim

    def _most_wealth(self) -> Matrix:
        """What nobody's wealth passes by each evening: every day all of it in the best pools, each at its cap."""
        share = float(self._widened(self.parameters.max_pool_share).max())
        n_full, rest = int(1.0 / share), 1.0 % share
        best = np.sort(np.maximum(self.future.growth, 0.0), axis=0)[::-1]
        rates = share * best[:n_full].sum(axis=0)
        if len(best) > n_full:
            rates = rates + rest * best[n_full]
        grown = sum(self.future.cash.values()) * np.cumprod(1.0 + rates)
        return np.concatenate([[sum(self.future.cash.values())], grown[:-1]])

    def _flows(self) -> None:
        """Positions, wealth before moving, money of each token, conversions through a numeraire."""
        first, days = np.arange(1), np.arange(1, self.n_days)
        moved = [(self.position, 1.0), (self.put, -1.0), (self.taken, 1.0)]
        held = [(self.position, -1.0), (self.paid, -1.0)]
        self.equal.add(np.zeros(self.n_pools), *((block[:, :1], factor) for block, factor in moved))
        self.equal.add(
            np.zeros(self.n_pools * len(days)),
            *((block[:, days].ravel(), factor) for block, factor in moved),
            *((block[:, days - 1].ravel(), factor) for block, factor in held),
        )
        self.equal.add(np.array([sum(self.future.cash.values())]), (self.wealth[first], 1.0))
        before = [*held, (self.cash, -1.0)]
        self.equal.add(
            np.zeros(len(days)),
            (self.wealth[days], 1.0),
            *((block[:, days - 1].T, factor) for block, factor in before),
        )
        for index, token in enumerate(self.tokens):
            own = np.flatnonzero([name == token for name in self.future.token])
            start = np.zeros(self.n_days)
            start[0] = self.future.cash.get(token, 0.0)
            terms = [(self.put[own].T, 1.0), (self.taken[own].T, -1.0), (self.cash[index], 1.0)]
            terms += [(self.sold[index], 1.0), (self.bought[index], -1.0)]
            self.equal.add(start[:1], *((columns[:1], factor) for columns, factor in terms))
            carried = (self.cash[index][days - 1], -1.0)
            self.equal.add(start[1:], *((columns[1:], factor) for columns, factor in terms), carried)
        keep = 1.0 - self.parameters.conversion_rate
        self.equal.add(np.zeros(self.n_days), (self.sold.T, keep), (self.bought.T, -1.0))

    def _drift(self) -> Matrix:
        """Largest growth of each pool within a window that ends on an evening, against shrinking wealth."""
        if self.window_days == 1:
            return np.ones((self.n_pools, self.n_days))
        gains = 1.0 + np.maximum(self.future.growth, 0.0)
        before = np.concatenate([np.ones((self.n_pools, 1)), gains[:, :-1]], axis=1)
        grown = np.ones_like(before)
        for back in range(self.window_days - 1):
            grown[:, back:] *= before[:, : self.n_days - back]
        loss = (1.0 - self.parameters.conversion_rate) * (1.0 + min(0.0, float(self.future.growth.min(initial=0.0))))
        return np.asarray(grown / loss**self.window_days, dtype=np.float64)

    def _widened(self, share: float) -> Matrix:
        """A cap of a share of wealth, by pool and evening, with what drifts over it."""
        return share * self._drift()

    def _largest(self) -> Matrix:
        """The most that the cap of the pool's size lets stand there: share·(S + V0) after moving, widened by a window.

        V0 is what stood there before moving, so that a size that falls does not take the cap down at once.
        """
        share = self.parameters.max_pool_tvl_share
        if share >= 1.0:
            return np.full((self.n_pools, self.n_days), np.inf)
        # a size of which nobody was told anything does not cap
        size = np.where(self.future.told_size > 0, self.future.told_size, np.inf) / self.future.capital_usd
        gains, drift = 1.0 + np.maximum(self.future.growth, 0.0), self._drift()
        at_once, most = np.empty_like(size), np.empty_like(size)
        for evening in range(self.n_days):
            before = most[:, evening - 1] * gains[:, evening - 1] if evening else 0.0
            at_once[:, evening] = share * (size[:, evening] + before)
            window = at_once[:, max(0, evening - self.window_days + 1) : evening + 1]
            most[:, evening] = window.max(axis=1) * drift[:, evening]
        return most

    def _size_caps(self) -> None:
        """V ≤ share·(S + V0) on every evening, where positions are brought under their caps every day."""
        share, size = self.parameters.max_pool_tvl_share, self.future.told_size / self.future.capital_usd
        if share >= 1.0 or self.window_days > 1:
            return
        for pool in range(self.n_pools):
            known = np.flatnonzero(size[pool] > 0)
            later = known[known > 0]
            now, before = self.position[pool][later], (self.position[pool][later - 1], self.paid[pool][later - 1])
            self.most.add(share * size[pool][later], (now, 1.0), (before[0], -share), (before[1], -share))
            first = known[known == 0]
            self.most.add(share * size[pool][first], (self.position[pool][first], 1.0))

    def _caps(self) -> None:
        """Shares of wealth: pool, protocol, issuer of what is in pools."""
        limits = self.parameters
        groups = [(np.array([pool]), limits.max_pool_share) for pool in range(self.n_pools)]
        for names, share in (
            (self.future.protocol, limits.max_protocol_share),
            (self.future.issuer, limits.max_token_share),
        ):
            groups += [(np.flatnonzero([other == name for other in names]), share) for name in sorted(set(names))]
        for members, share in groups:
            if share < 1.0:
                widened = -self._widened(share)[members].max(axis=0)
                self.most.add(np.zeros(self.n_days), (self.position[members].T, 1.0), (self.wealth, widened))

    def _yields(self) -> None:
        """y ≤ each tangent of V·g·S/(S+V); a loss is not diluted, a pool of unknown size pays undiluted."""
        growth = self.future.growth
        size = np.where(self.future.size > 0, self.future.size, np.inf) / self.future.capital_usd
        reach = np.minimum(self._largest(), TANGENT_REACH * self.parameters.max_pool_share)
        for share in TANGENT_SHARES:
            at = share * reach
            factor = 1.0 / (1.0 + at / size)
            is_gain = growth > 0
            slope = np.where(is_gain, growth * factor**2, growth)
            level = np.where(is_gain, growth * at * (factor - factor**2), 0.0)
            self.most.add(level.ravel(), (self.paid.ravel(), 1.0), (self.position.ravel(), -slope.ravel()))
