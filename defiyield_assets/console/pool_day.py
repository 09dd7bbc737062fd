"""The pools of a day, read and joined into a table that is kept while the warehouse stays as it is.

Lives here: which tables the columns come from. Not here: searching and sorting (pool_table.py), SQL (store/reads.py),
what the page says (pages/pools.py).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import sqlalchemy as sa

from defiyield_assets.console.pool_table import Flags, Numbers, PoolTable, Words
from defiyield_assets.console.views import View
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.domain.reporting.formats import clean
from defiyield_assets.store import reads, schema
from defiyield_assets.store.evidence import parameters_of

SOURCES = (
    *("prefiltered_pools", "eligible_pools", "pools", "pool_metrics", "pool_groups", "pool_forecasts"),
    "allocations",
)
"""The assets behind the table."""
MADE_OF = (*SOURCES, "policy_snapshot")
JUDGED = [
    *("pool_id", "is_passed", "reason_codes", "warning_codes", "chain", "protocol", "symbol", "size_usd"),
    "underlying_addresses_json",
]
SHORT = 60
"""Characters of a vendor's name that are shown and searched."""
Columns = dict[str, npt.NDArray[Any]]


def pool_table(view: View) -> PoolTable:
    """All pools of the day; those that are held and no longer listed are among them."""
    return view.remembered("pools", None, lambda: _read(view), tables=[schema.metadata.tables[one] for one in MADE_OF])


def _read(view: View) -> PoolTable:
    listed = _columns(view, schema.prefiltered_pools, [*JUDGED, "underlying_symbols"])
    judged = _columns(view, schema.eligible_pools, [*JUDGED, "is_held"])
    is_unlisted = ~pd.Index(judged["pool_id"]).isin(listed["pool_id"])
    together = {name: np.concatenate([listed[name], judged[name][is_unlisted]]) for name in JUDGED}
    size_usd = together["size_usd"].astype(np.float64)
    # the largest first, equal ones by id: that is the order where a sorted column is equal
    order = np.lexsort(
        (pd.factorize(together["pool_id"], sort=True)[0], np.where(np.isnan(size_usd), np.inf, -size_usd))
    )
    joined = _Joined(together["pool_id"][order])
    is_listed = joined.flags(listed["pool_id"])
    is_prefiltered = joined.flags(listed["pool_id"][listed["is_passed"].astype(bool)])
    is_judged = joined.flags(judged["pool_id"])
    is_eligible = joined.flags(judged["pool_id"][judged["is_passed"].astype(bool)])
    apys = _columns(view, schema.pools, ["pool_id", "apy", "is_stale"])
    metrics = _columns(view, schema.pool_metrics, ["pool_id", "apy_mean_30d", "apy_std_30d"])
    groups = _columns(view, schema.pool_groups, ["pool_id", "pool_group"])
    parameters = parameters_of(view.connection, view.day)
    forecasts = _forecasts(view, parameters)
    planned = _planned(view)
    is_planned = joined.flags(list(planned))
    symbols = np.concatenate([listed["underlying_symbols"], np.full(int(is_unlisted.sum()), "", object)])[order]
    texts = {
        "name": _cleaned(together["symbol"][order]),
        "protocol": _cleaned(together["protocol"][order]),
        "chain": _cleaned(together["chain"][order]),
    }
    return PoolTable(
        pool_id=joined.pool_id,
        texts=texts,
        figures={
            "verdict": np.select([is_planned, is_eligible, is_prefiltered], [0.0, 1.0, 2.0], 3.0),
            "pool_group": joined.figures(groups["pool_id"], groups["pool_group"]),
            "size_usd": size_usd[order],
            "apy": joined.figures(apys["pool_id"], apys["apy"]),
            "apy_mean_30d": joined.figures(metrics["pool_id"], metrics["apy_mean_30d"]),
            "apy_std_30d": joined.figures(metrics["pool_id"], metrics["apy_std_30d"]),
            "forecast_apy": joined.figures(forecasts["pool_id"], forecasts["mean"]),
            "forecast_p10": joined.figures(forecasts["pool_id"], forecasts["p10"]),
            "forecast_p90": joined.figures(forecasts["pool_id"], forecasts["p90"]),
            "share_of_aum": joined.figures(list(planned), list(planned.values())),
        },
        flags={
            "is_prefiltered": is_prefiltered,
            "is_eligible": is_eligible,
            "is_planned": is_planned,
            "is_refused": (is_listed & ~is_prefiltered) | (is_judged & ~is_eligible),
            "is_held": joined.flags(judged["pool_id"][judged["is_held"].astype(bool)]),
            "is_followed": is_prefiltered | is_judged,
            "is_implausible": joined.flags(apys["pool_id"][_implausible(apys["apy"], parameters)]),
            "is_stale": joined.flags(apys["pool_id"][apys["is_stale"].astype(bool)]),
        },
        codes=joined.words(together["pool_id"], _codes(together), judged["pool_id"], _codes(judged)),
        underlyings=_cleaned(symbols),
        tokens=together["underlying_addresses_json"][order],
    )


class _Joined:
    """Columns of other tables beside the pools, by id; ids that are not among them are left out."""

    def __init__(self, pool_id: Words) -> None:
        self.pool_id = pool_id
        self._index = pd.Index(pool_id)

    def figures(self, pool_ids: Sequence[str] | Words, values: Sequence[float] | npt.NDArray[Any]) -> Numbers:
        """A figure of each pool, NaN where the other table has none."""
        found = np.full(len(self.pool_id), np.nan)
        places, is_known = self._places(pool_ids)
        found[places] = np.asarray(values, np.float64)[is_known]
        return found

    def flags(self, pool_ids: Sequence[str] | Words) -> Flags:
        """Whether each pool is among some."""
        found = np.zeros(len(self.pool_id), np.bool_)
        found[self._places(pool_ids)[0]] = True
        return found

    def words(self, pool_ids: Words, texts: Words, later_ids: Words, later: Words) -> Words:
        """A text of each pool, that of the later judgement where there is one."""
        found = np.full(len(self.pool_id), "", object)
        for ids, values in ((pool_ids, texts), (later_ids, later)):
            places, is_known = self._places(ids)
            found[places] = values[is_known]
        return found

    def _places(self, pool_ids: Sequence[str] | Words) -> tuple[npt.NDArray[np.intp], Flags]:
        places = self._index.get_indexer(pd.Index(np.asarray(pool_ids, object)))
        is_known = places >= 0
        return places[is_known], is_known


def _columns(view: View, table: sa.Table, names: Sequence[str], where: reads.Where = None) -> Columns:
    return reads.read_columns(view.connection, table, DayRange.of(view.day), where, names)


def _implausible(apy: Numbers, parameters: Parameters | None) -> Flags:
    """Which rates no pool can pay, as `pool_quality` judges histories; none where the day's policy is not kept."""
    if parameters is None:
        return np.zeros(len(apy), np.bool_)
    return (apy < 0.0) | (apy > parameters.apy_plausible_max)


def _forecasts(view: View, parameters: Parameters | None) -> Columns:
    """Forecasts of the APY over the policy's horizon."""
    horizon_days = None if parameters is None else parameters.horizon_days
    where = {"target": "apy", "horizon_days": horizon_days}
    return _columns(view, schema.pool_forecasts, ["pool_id", "mean", "p10", "p90"], where)


def _planned(view: View) -> dict[str, float]:
    """Share of assets of each pool in which the day's newest plan holds anything, all its tokens together."""
    runs = _columns(view, schema.allocation_runs, ["run_id"])["run_id"]
    if not len(runs):
        return {}
    rows = _columns(view, schema.allocations, ["pool_id", "amount", "share_of_aum"], {"run_id": max(runs)})
    shares: dict[str, float] = {}
    for pool_id, amount, share in zip(rows["pool_id"], rows["amount"], rows["share_of_aum"], strict=True):
        if int(amount) > 0:
            shares[pool_id] = shares.get(pool_id, 0.0) + float(share)
    return shares


def _codes(judged: Columns) -> Words:
    """Reasons and doubts together."""
    pairs = zip(judged["reason_codes"], judged["warning_codes"], strict=True)
    return np.array([",".join(filter(None, pair)) for pair in pairs], object)


def _cleaned(texts: Words) -> Words:
    """Vendors' words fit for print; most of them are many pools' at once."""
    known = {text: clean(text, SHORT) for text in set(texts)}
    return np.array([known[text] for text in texts], object)
