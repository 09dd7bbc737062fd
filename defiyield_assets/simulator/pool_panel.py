"""Daily APY and TVL of many pools as matrices, and the answers that DeFiLlama yields would give about them.

Lives here: rows of `/pools`, points of `/chart` and `/chartLendBorrow`, legs of `/lendBorrow` as of a day. Not here:
where the numbers come from (recorded_files.py, generated_pools.py) or HTTP (wire.py). Vendor units: APY in percent, TVL
in whole USD.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]

APY_DIGITS = 5
MEAN_DAYS = 30
SPREAD_DAYS = 90
"""Days that `mu` and `sigma` rest on here; the vendor takes the whole life, and nobody reads them."""


@dataclass(frozen=True)
class PoolFacts:
    """What does not change from day to day (but for a renamed symbol or a new pool id, which come once).

    From `moved_since` on the vendor knows the pool as `pool_id`, before only as `id_before`.
    """

    pool_id: str
    chain: str
    project: str
    symbol: str
    underlyings: tuple[str, ...] | None
    reward_tokens: tuple[str, ...] = ()
    pool_meta: str | None = None
    is_stablecoin: bool = True
    il_risk: str = "no"
    exposure: str = "single"
    renamed_since: date | None = None
    symbol_before: str | None = None
    moved_since: date | None = None
    id_before: str | None = None

    def symbol_on(self, day: date) -> str:
        """The symbol that the vendor showed on a day."""
        if self.renamed_since is not None and self.symbol_before is not None and day < self.renamed_since:
            return self.symbol_before
        return self.symbol

    def id_on(self, day: date) -> str:
        """The id under which the vendor listed the pool on a day."""
        if self.moved_since is not None and self.id_before is not None and day < self.moved_since:
            return self.id_before
        return self.pool_id


@dataclass(frozen=True)
class PastEdit:
    """A point that the vendor tells differently from a later day on; rows of the panel, APYs in percent."""

    row: int
    known_from: int
    apy: float
    apy_base: float


@dataclass(frozen=True)
class LendingLegs:
    """Supply, borrow (USD) and borrow APY (percent) per day and lending pool; columns are pools of the panel."""

    columns: npt.NDArray[np.int64]
    supply_usd: Matrix
    borrow_usd: Matrix
    apy_borrow: Matrix


STALE_DAYS = 7
"""How long a pool without points stays in `/pools` with its last ones, as the vendor does."""


@lru_cache(maxsize=65_536)
def mixed_case(address: str) -> str:
    """An address as vendors spell it: the digits in upper or lower case by a fixed rule, so that case never decides."""
    pattern = hashlib.sha256(address.encode()).digest()
    flipped = (c.upper() if pattern[i % 32] & 1 else c for i, c in enumerate(address[2:]))
    return "0x" + "".join(flipped)


def point_stamp(day: date, column: int) -> str:
    """Time of a pool's point of a day, shortly after 23:01 UTC, as the vendor spells it."""
    millis = (day.toordinal() * 7_919 + column * 104_729) % 58_000
    return f"{day.isoformat()}T23:01:{millis // 1000:02d}.{millis % 1000:03d}Z"


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


class PoolPanel:
    """Matrices of shape (days, pools); NaN in `tvl` means that the vendor has no point of that day."""

    def __init__(
        self,
        facts: Sequence[PoolFacts],
        start: date,
        *,
        apy: Matrix,
        apy_base: Matrix,
        apy_reward: Matrix,
        tvl: Matrix,
        legs: LendingLegs | None = None,
        stale_days: int = 0,
        has_row_stamps: bool = False,
        edits: Mapping[int, Sequence[PastEdit]] | None = None,
    ) -> None:
        """`stale_days`: how long a pool without points stays in `/pools` with its last ones; `edits` by column, known
        after the pool has left that list.
        """
        self.facts = tuple(facts)
        self.start = start
        self.column = {fact.pool_id: index for index, fact in enumerate(self.facts)}
        self.column |= {fact.id_before: index for index, fact in enumerate(self.facts) if fact.id_before is not None}
        self._edits = dict(edits or {})
        self._apy, self._apy_base, self._apy_reward, self._tvl = apy, apy_base, apy_reward, tvl
        self._legs = legs
        self._stale_days = stale_days
        self._has_row_stamps = has_row_stamps
        present = ~np.isnan(tvl)
        rows = np.arange(len(tvl), dtype=np.int32)[:, None]
        self._last_row: npt.NDArray[np.int32] = np.maximum.accumulate(np.where(present, rows, np.int32(-1)), axis=0)

    @property
    def end(self) -> date:
        """Last day of the matrices."""
        return self.start + timedelta(days=len(self._tvl) - 1)

    def _row(self, day: date) -> int:
        return min((day - self.start).days, len(self._tvl) - 1)

    def apy_on(self, pool_id: str, day: date) -> float | None:
        """Total APY as a fraction: of the day, or the last one known by then; None before the first point."""
        column, row = self.column.get(pool_id), self._row(day)
        if column is None or row < 0:
            return None
        known = np.flatnonzero(~np.isnan(self._apy[: row + 1, column]))
        return float(self._apy[known[-1], column]) / 100 if known.size else None

    def pool_rows(self, day: date) -> list[dict[str, Any]]:
        """`/pools` as of a day: every pool with a point on it or, stale, at most `stale_days` before."""
        row = self._row(day)
        if row < 0:
            return []
        last = self._last_row[row]
        listed = np.flatnonzero((last >= 0) & (last >= row - self._stale_days))
        at = last[listed]
        figures = self._figures(listed, at, row)
        return [
            self._pool_row(int(j), int(i), day, figures, k) for k, (j, i) in enumerate(zip(listed, at, strict=True))
        ]

    def _figures(self, listed: npt.NDArray[np.int64], at: npt.NDArray[np.int64], row: int) -> dict[str, list[Any]]:
        """Per listed pool the changes, means and counts that the vendor adds; NaN-free python values."""
        apy = self._apy[at, listed]

        def change(days: int) -> Matrix:
            earlier = self._apy[np.maximum(at - days, 0), listed]
            return np.where(at >= days, apy - earlier, np.nan)

        def mean_std(values: Matrix) -> tuple[Matrix, Matrix]:
            known = ~np.isnan(values)
            count = known.sum(axis=0)
            mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1)
            spread = np.sqrt((np.where(known, values - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count - 1, 1))
            return mean, spread

        mean_30, _ = mean_std(self._apy[max(row - MEAN_DAYS + 1, 0) : row + 1, listed])
        mu, sigma = mean_std(self._apy[max(row - SPREAD_DAYS + 1, 0) : row + 1, listed])
        count = (~np.isnan(self._tvl[: row + 1])).sum(axis=0)[listed]
        told = {"apy": apy, "apyBase": self._apy_base[at, listed], "apyReward": self._apy_reward[at, listed]}
        derived = {
            "apyPct1D": change(1),
            "apyPct7D": change(7),
            "apyPct30D": change(30),
            "apyMean30d": mean_30,
            "mu": mu,
            "sigma": sigma,
        }
        # What /chart tells too is told unrounded, so that both say the same to the last digit.
        columns = told | {name: np.round(values, APY_DIGITS) for name, values in derived.items()}
        figures: dict[str, list[Any]] = {
            name: [_number(value) for value in values.tolist()] for name, values in columns.items()
        }
        figures["tvlUsd"] = [int(value) for value in self._tvl[at, listed]]
        figures["count"] = count.tolist()
        return figures

    def _pool_row(self, column: int, row: int, day: date, figures: dict[str, list[Any]], k: int) -> dict[str, Any]:
        fact = self.facts[column]
        answer: dict[str, Any] = {
            "chain": fact.chain,
            "project": fact.project,
            "symbol": fact.symbol_on(day),
            "tvlUsd": figures["tvlUsd"][k],
            "apyBase": figures["apyBase"][k],
            "apyReward": figures["apyReward"][k],
            "apy": figures["apy"][k],
            "rewardTokens": list(fact.reward_tokens) if fact.reward_tokens and figures["apyReward"][k] else None,
            "pool": fact.id_on(day),
            "apyPct1D": figures["apyPct1D"][k],
            "apyPct7D": figures["apyPct7D"][k],
            "apyPct30D": figures["apyPct30D"][k],
            "stablecoin": fact.is_stablecoin,
            "ilRisk": fact.il_risk,
            "exposure": fact.exposure,
            "predictions": {"predictedClass": None, "predictedProbability": None, "binnedConfidence": None},
            "poolMeta": fact.pool_meta,
            "mu": figures["mu"][k],
            "sigma": figures["sigma"][k],
            "count": figures["count"][k],
            "outlier": False,
            "underlyingTokens": None if fact.underlyings is None else [mixed_case(a) for a in fact.underlyings],
            "il7d": None,
            "apyBase7d": None,
            "apyMean30d": figures["apyMean30d"][k],
            "volumeUsd1d": None,
            "volumeUsd7d": None,
            "apyBaseInception": None,
        }
        if self._has_row_stamps:
            answer["timestamp"] = point_stamp(self.start + timedelta(days=row), column)
        return answer

    def chart_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """`/chart` of a pool: every point up to the day, ascending; None for an id that was not known by then.

        A pool that moved to a new id carries on there with its whole history; the old id keeps the points it had.
        """
        place = self._place(pool_id, day)
        if place is None:
            return None
        column, row = place
        rows = np.flatnonzero(~np.isnan(self._tvl[: max(row + 1, 0), column])).tolist()
        apy, base, reward = self._told_rates(column, row)
        tvl = self._tvl[: row + 1, column].tolist()
        first = self.start.toordinal()
        return [
            {
                "timestamp": point_stamp(date.fromordinal(first + i), column),
                "tvlUsd": int(tvl[i]),
                "apy": _number(apy[i]),
                "apyBase": _number(base[i]),
                "apyReward": _number(reward[i]),
                "il7d": None,
                "apyBase7d": None,
            }
            for i in rows
        ]

    def _place(self, pool_id: str, day: date) -> tuple[int, int] | None:
        """Column of an id, and row of the last day that is told under it; None for one not known by the day."""
        column, row = self.column.get(pool_id), self._row(day)
        if column is None:
            return None
        moved = self.facts[column].moved_since
        if moved is not None and pool_id == self.facts[column].id_before:
            row = min(row, (moved - self.start).days - 1)
        elif moved is not None and day < moved:
            return None
        return column, row

    def _told_rates(self, column: int, row: int) -> tuple[list[float], list[float], list[float]]:
        """Total, base and reward APY up to a row, as the vendor tells them by then."""
        apy, base, reward = (
            matrix[: row + 1, column].tolist() for matrix in (self._apy, self._apy_base, self._apy_reward)
        )
        for edit in self._edits.get(column, ()):
            if edit.known_from <= row:
                apy[edit.row], base[edit.row] = edit.apy, edit.apy_base
        return apy, base, reward

    def lend_borrow_points(self, pool_id: str, day: date) -> list[dict[str, Any]] | None:
        """`/chartLendBorrow` of a pool: its points as in `chart_points`, sizes null where no legs are known."""
        place = self._place(pool_id, day)
        if place is None:
            return None
        column, row = place
        legs = self._legs
        k = -1 if legs is None else next(iter(np.flatnonzero(legs.columns == column).tolist()), -1)
        _, base, reward = self._told_rates(column, row)
        first = self.start.toordinal()
        points = []
        for i in np.flatnonzero(~np.isnan(self._tvl[: max(row + 1, 0), column])).tolist():
            supply, borrow, rate = (
                (math.nan,) * 3
                if legs is None or k < 0
                else (legs.supply_usd[i, k], legs.borrow_usd[i, k], legs.apy_borrow[i, k])
            )
            points.append(
                {
                    "timestamp": point_stamp(date.fromordinal(first + i), column),
                    "totalSupplyUsd": None if math.isnan(supply) else int(supply),
                    "totalBorrowUsd": None if math.isnan(borrow) else int(borrow),
                    "debtCeilingUsd": None,
                    "apyBase": _number(base[i]),
                    "apyReward": _number(reward[i]),
                    "apyBaseBorrow": _number(rate),
                    "apyRewardBorrow": None,
                }
            )
        return points

    def lend_borrow_rows(self, day: date) -> list[dict[str, Any]]:
        """`/lendBorrow` as of a day: the legs of every lending pool that `/pools` lists and whose legs are known."""
        row = self._row(day)
        if self._legs is None or row < 0:
            return []
        legs = self._legs
        answers = []
        for k, column in enumerate(legs.columns.tolist()):
            at = int(self._last_row[row, column])
            if at < 0 or at < row - self._stale_days:
                continue
            fact = self.facts[column]
            answers.append(
                {
                    "pool": fact.id_on(day),
                    "apyBaseBorrow": _number(legs.apy_borrow[at, k]),
                    "apyRewardBorrow": None,
                    "totalSupplyUsd": int(legs.supply_usd[at, k]),
                    "totalBorrowUsd": int(legs.borrow_usd[at, k]),
                    "debtCeilingUsd": None,
                    "ltv": 0.75,
                    "borrowable": True,
                    "mintedCoin": None,
                    "underlyingTokens": [mixed_case(a) for a in fact.underlyings or ()],
                }
            )
        return answers
