"""Which model stands for which pool: champions chosen from rolling-origin evidence, tier by tier.

Lives here: the duels and their rules. Not here: the evidence itself (backtests.py), the test (diebold_mariano.py), what
live scores lead to (demotion.py).
"""

import math
from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from defiyield_assets.domain.forecasting.backtests import ORIGIN_EVERY_DAYS, Backtest
from defiyield_assets.domain.forecasting.diebold_mariano import p_values
from defiyield_assets.domain.forecasting.models import LAST_VALUE

MIN_ORIGINS = 8
MIN_GROUP_SERIES = 3
"""A smaller group or panel has no evidence to pool: it would be a pool under another name."""
POOL_BELOW_DAYS = 30
"""From this horizon on a pool has too few windows that share nothing to choose for itself: its group chooses."""
DEMOTED = "DEMOTED"
MODEL_FAILED = "MODEL_FAILED"

EVIDENCE_COLUMNS = (
    "target",
    "horizon_days",
    "scope",
    "scope_id",
    "model",
    "n_origins",
    "n_forecasts",
    "mae",
    "mae_last_value",
    "skill",
    "bias",
    "p_value",
    "is_champion",
    "reason",
)

Cube = NDArray[np.float64]
"""Shape (models, series, origins)."""
Places = NDArray[np.int64]
Text = NDArray[np.object_]


@dataclass(frozen=True)
class Gate:
    """What a challenger must show: the share by which its error is lower, and the p-value that it stays below."""

    margin: float
    p_below: float


PANEL_GATE = Gate(margin=0.01, p_below=0.01)
"""All series together carry much evidence, so that a small gain is told from none."""
GATE = Gate(margin=0.05, p_below=0.01)
"""What groups and pools ask.

Source of the p-values: a dozen challengers are tried at once, and 0.05 is passed by a lucky one every other time.
Measured for apy, relative to the last value at 1, 7, 30 days: lending panel (31 origins) 0.898, 0.873, 0.840; stable
DEX pools (every sixth week, without the pooled model) 1.045, 0.806, 0.961; Aave v2 (every second week, likewise) 0.931,
0.868, 0.845. With 0.05 (panel 0.20): 0.911, 0.886, 0.849; 1.054, 0.842, 0.982; 0.927, 0.897, 0.855. Chosen after
seeing some forty settings on these same panels, so the difference flatters it; between 0.004 and 0.02 little changes.
"""


@dataclass(frozen=True)
class Champions:
    """Who stands for each series, in the order of the rows of the backtest, and the evidence.

    `tiers` says whose evidence decided (pool, group, panel, or baseline: nobody's), `fallbacks` is DEMOTED or
    MODEL_FAILED where the chosen model may not or can not be used and the next tier's stands, else None.
    """

    models: Text
    tiers: Text
    reasons: Text
    fallbacks: Text
    evidence: pd.DataFrame


@dataclass(frozen=True)
class _Scopes:
    """Who speaks with one voice: the panel, the groups, or each pool; what each is asked for."""

    tier: str
    ids: Text
    members: Places
    """Scope of each series, -1 for none."""
    is_open: NDArray[np.bool_]
    """Scopes that may choose at all."""
    may_win: NDArray[np.bool_]
    """Models that may win here."""
    gate: Gate


@dataclass(frozen=True)
class _Tier:
    """The duels of one tier: every model against the champion of the tier above, matrices (scopes, models).

    `gain` is the share by which a model's error is lower than the incumbent's on their common cells, NaN without any
    or with an incumbent that is never wrong.
    """

    scopes: _Scopes
    incumbent: Places
    champion: Places
    n_origins: Places
    gain: NDArray[np.float64]
    p_value: NDArray[np.float64]
    majority: NDArray[np.float64]
    """Series that the model is better for minus those that it is worse for."""

    def champion_of_series(self, above: Places) -> Places:
        """Champion of each series; `above` where the series is in no scope."""
        champions = above.copy()
        is_member = self.scopes.members >= 0
        champions[is_member] = self.champion[self.scopes.members[is_member]]
        return champions


def choose_champions(
    backtest: Backtest,
    pool_ids: Sequence[str],
    groups: "Sequence[Hashable] | NDArray[np.int64]",
    baseline: str,
    *,
    barred: Collection[tuple[str, str]] = (),
    pool_only: Collection[str] = (),
) -> Champions:
    """The champion of each series at one target and horizon, and the evidence for it.

    `pool_ids` and `groups` (None: in no group) name the rows of the backtest. Three tiers, each of which starts from
    the champion of the tier above, the first from `baseline`: the whole panel, the risk group, the pool itself (not
    from 30 days on). A challenger wins a tier when, on the cells that both have, its mean absolute error is lower by
    the gate's margin, the paired test by origin is below the gate's p-value, there are MIN_ORIGINS origins, and it is
    not worse for most series; of several the one with the largest gain, equal gains by name. Errors are in natural
    units, because the pooled error is what counts; a few wild series do not decide for the others, because what they
    gain at a few origins does not pass the test and what they gain at all origins makes no majority.

    `barred` holds (pool_id, model) that were demoted; a model whose `now` is NaN has failed, one that is not in `now`
    has yet to be asked and counts as able. Either way the next tier's model stands, in the end the last value. Models
    of `pool_only` can win a pool by its own history, never a group or the panel. Raises ValueError
    without forecasts of the baseline or the last value.
    """
    missing = {baseline, LAST_VALUE.name} - set(backtest.forecasts)
    if missing:
        raise ValueError(f"the backtest of {backtest.target} has no forecasts of {', '.join(sorted(missing))}")
    # A sum depends on the order of its terms by a bit: the order is the same whatever the caller's.
    order = np.array(sorted(range(len(pool_ids)), key=lambda row: pool_ids[row]), dtype=np.int64)
    ids = [pool_ids[row] for row in order]
    names = sorted(backtest.forecasts)
    errors = np.stack([backtest.forecasts[name][order] for name in names]) - backtest.actual[order]
    is_general = np.array([name not in pool_only for name in names], dtype=np.bool_)
    plan = _plan(ids, [groups[row] for row in order], backtest.horizon_days, is_general)
    tiers = _duels(np.abs(errors), plan, names.index(baseline), math.ceil(backtest.horizon_days / ORIGIN_EVERY_DAYS))
    tables = [_evidence(tier, errors, names) for tier in tiers]
    evidence = pd.concat([table.loc[table["n_forecasts"] > 0] for table in tables], ignore_index=True)
    evidence.insert(0, "target", backtest.target)
    evidence.insert(1, "horizon_days", backtest.horizon_days)
    reasons = [table["reason"].to_numpy(dtype=object).reshape(-1, len(names)) for table in tables]
    able = _able(backtest, order, ids, names, barred)
    stands = _stand_ins(tiers, reasons, able, names, names.index(baseline))
    back = np.argsort(order, kind="stable")
    models, told, words, fallbacks = (column[back] for column in stands)
    return Champions(models, told, words, fallbacks, evidence)


def _plan(
    pool_ids: Sequence[str], groups: Sequence[Hashable], horizon_days: int, is_general: NDArray[np.bool_]
) -> list[_Scopes]:
    """Panel, groups and pools, in the order in which they choose."""
    group_ids = sorted({str(group) for group in groups if group is not None})
    place = {group: number for number, group in enumerate(group_ids)}
    of_group = np.array([-1 if group is None else place[str(group)] for group in groups], dtype=np.int64)
    is_large = np.bincount(of_group[of_group >= 0], minlength=len(group_ids)) >= MIN_GROUP_SERIES
    series = np.arange(len(pool_ids), dtype=np.int64)
    is_panel = np.array([len(pool_ids) >= MIN_GROUP_SERIES])
    is_free = np.full(len(pool_ids), horizon_days < POOL_BELOW_DAYS)
    return [
        _Scopes("panel", _texts(["all"]), np.zeros_like(series), is_panel, is_general, PANEL_GATE),
        _Scopes("group", _texts(group_ids), of_group, is_large, is_general, GATE),
        _Scopes("pool", _texts(pool_ids), series, is_free, np.ones_like(is_general), GATE),
    ]


def _duels(losses: Cube, plan: Sequence[_Scopes], baseline: int, window_origins: int) -> list[_Tier]:
    """The tiers one after the other; each series' incumbent is the champion of the tier before."""
    champions = np.full(losses.shape[1], baseline, dtype=np.int64)
    tiers = []
    for scopes in plan:
        tier = _duel(losses, champions, scopes, window_origins)
        champions = tier.champion_of_series(champions)
        tiers.append(tier)
    return tiers


def _texts(values: Sequence[str]) -> Text:
    return np.array(values, dtype=object)


def _duel(losses: Cube, incumbents: Places, scopes: _Scopes, window_origins: int) -> _Tier:
    """Every model against the incumbent of each scope, which the series of one scope share."""
    rival = losses[incumbents, np.arange(losses.shape[1])]
    gaps = rival - losses
    is_common = ~np.isnan(gaps)
    gained = _sum_by_scope(np.where(is_common, gaps, 0.0), scopes)
    cells = _sum_by_scope(is_common.astype(np.float64), scopes)
    lost = _sum_by_scope(np.where(is_common, rival, 0.0), scopes).sum(axis=2)
    n_origins = (cells > 0.0).sum(axis=2)
    gain = np.divide(gained.sum(axis=2), lost, out=np.full_like(lost, np.nan), where=lost > 0.0)
    # Scaled so that the mean over origins is the pooled gain: an origin with few series weighs little.
    per_origin = np.divide(cells.sum(axis=2), n_origins, out=np.ones_like(lost), where=n_origins > 0)
    by_origin = np.where(cells > 0.0, gained / per_origin[..., None], np.nan)
    p_value = np.where(scopes.is_open[:, None] & scopes.may_win, p_values(by_origin, window_origins), np.nan)
    rows = np.arange(len(scopes.ids))
    incumbent = np.zeros(len(rows), dtype=np.int64)
    is_member = scopes.members >= 0
    incumbent[scopes.members[is_member]] = incumbents[is_member]
    p_value[rows, incumbent] = np.nan
    gate = scopes.gate
    majority = _sum_by_scope(np.sign(np.where(is_common, gaps, 0.0).sum(axis=2, keepdims=True)), scopes)[..., 0]
    is_winner = (gain >= gate.margin) & (p_value < gate.p_below) & (n_origins >= MIN_ORIGINS) & (majority >= 0.0)
    best = np.argmax(np.where(is_winner, gain, -np.inf), axis=1)
    champion = np.where(is_winner.any(axis=1), best, incumbent)
    return _Tier(scopes, incumbent, champion, n_origins, gain, p_value, majority)


def _sum_by_scope(values: Cube, scopes: _Scopes) -> Cube:
    """Sums over the series of each scope: (models, series, origins) -> (scopes, models, origins)."""
    if scopes.tier == "pool":
        return values.transpose(1, 0, 2)
    inside = np.flatnonzero(scopes.members >= 0)
    inside = inside[np.argsort(scopes.members[inside], kind="stable")]
    sums = np.zeros((len(scopes.ids), values.shape[0], values.shape[2]))
    present, starts = np.unique(scopes.members[inside], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(values[:, inside], starts, axis=1).transpose(1, 0, 2)
    return sums


def _evidence(tier: _Tier, errors: Cube, names: Sequence[str]) -> pd.DataFrame:
    """What every model was worth in every scope, scope by scope and by name, cells beside those of the last value."""
    naive = np.abs(errors[names.index(LAST_VALUE.name)])
    is_common = ~np.isnan(errors) & ~np.isnan(naive)

    def totals(values: Cube) -> Cube:
        return _sum_by_scope(np.where(is_common, values, 0.0), tier.scopes)

    cells = totals(np.ones_like(errors))
    n_forecasts = cells.sum(axis=2)
    mae, mae_last_value, bias = (
        np.divide(totals(values).sum(axis=2), n_forecasts, out=np.full_like(n_forecasts, np.nan), where=n_forecasts > 0)
        for values in (np.abs(errors), np.broadcast_to(naive, errors.shape), errors)
    )
    is_champion = np.zeros(mae.shape, dtype=np.bool_)
    is_champion[np.arange(len(tier.scopes.ids)), tier.champion] = True
    ratio = np.divide(mae, mae_last_value, out=np.full_like(mae, np.nan), where=mae_last_value > 0.0)
    table = {
        "scope": tier.scopes.tier,
        "scope_id": np.repeat(tier.scopes.ids, len(names)),
        "model": np.tile(np.array(names, dtype=object), len(tier.scopes.ids)),
        "n_origins": (cells > 0.0).sum(axis=2).ravel(),
        "n_forecasts": n_forecasts.astype(np.int64).ravel(),
        "mae": mae.ravel(),
        "mae_last_value": mae_last_value.ravel(),
        "skill": 1.0 - ratio.ravel(),
        "bias": bias.ravel(),
        "p_value": tier.p_value.ravel(),
        "is_champion": is_champion.ravel(),
        "reason": _reasons(tier, names),
    }
    return pd.DataFrame(table)


def _reasons(tier: _Tier, names: Sequence[str]) -> list[str]:
    """Why each model of each scope was chosen or not, scope by scope."""
    return [_reason(tier, scope, model, names) for scope in range(len(tier.champion)) for model in range(len(names))]


def _reason(tier: _Tier, scope: int, model: int, names: Sequence[str]) -> str:
    incumbent, champion, gate = int(tier.incumbent[scope]), int(tier.champion[scope]), tier.scopes.gate
    rival = names[incumbent]
    if model == incumbent:
        return f"stands: {names[champion]} is better" if champion != incumbent else "stands: no challenger passes"
    if not tier.scopes.is_open[scope]:
        return f"a {tier.scopes.tier} like this does not choose: {rival} of the tier above stands"
    if not tier.scopes.may_win[model]:
        return "can win a pool by its own history, no more"
    gain, p, n_origins = tier.gain[scope, model], tier.p_value[scope, model], tier.n_origins[scope, model]
    if n_origins < MIN_ORIGINS:
        return f"{n_origins} origins in common with {rival}, {MIN_ORIGINS} are needed"
    if np.isnan(gain):
        return f"{rival} was never wrong"
    figures = f"{abs(gain):.1%} {'better' if gain >= 0.0 else 'worse'} than {rival}, p {p:.3f}, {n_origins} origins"
    if model == champion:
        return figures
    if gain < gate.margin or not p < gate.p_below:
        return f"{figures}; needed: {gate.margin:.0%} better and p < {gate.p_below:.2f}"
    if tier.majority[scope, model] < 0.0:
        return f"{figures}, but worse for most series"
    return f"{figures}; {names[champion]} is better"


def _able(
    backtest: Backtest,
    order: Places,
    pool_ids: Sequence[str],
    names: Sequence[str],
    barred: Collection[tuple[str, str]],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which model may stand for which series and which has a value now; matrices (series, models)."""
    is_allowed = np.ones((len(pool_ids), len(names)), dtype=np.bool_)
    rows = {pool_id: row for row, pool_id in enumerate(pool_ids)}
    columns = {name: column for column, name in enumerate(names) if name != LAST_VALUE.name}
    for pool_id, model in barred:
        if pool_id in rows and model in columns:
            is_allowed[rows[pool_id], columns[model]] = False
    has_value = np.ones_like(is_allowed)
    for column, name in enumerate(names):
        if name in backtest.now:
            has_value[:, column] = ~np.isnan(backtest.now[name][order])
    return is_allowed, has_value


def _stand_ins(
    tiers: Sequence[_Tier],
    reasons: Sequence[Text],
    able: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    names: Sequence[str],
    baseline: int,
) -> tuple[Text, Text, Text, Text]:
    """Model, tier, reason and fallback of each series: of its tiers' champions the most specific that may and can."""
    n_series = len(tiers[0].scopes.members)
    champion = np.full(n_series, baseline)
    told = np.full(n_series, "baseline", dtype=object)
    words = np.full(n_series, f"the baseline {names[baseline]} stands", dtype=object)
    levels = [(champion, told, words)]
    for tier, why in zip(tiers, reasons, strict=True):
        own, words = tier.champion_of_series(champion), words.copy()
        for row in np.flatnonzero(own != champion):
            scope = tier.scopes.members[row]
            words[row] = f"{tier.scopes.tier} {tier.scopes.ids[scope]}: {why[scope, own[row]]}"
        champion, told = own, np.where(own != champion, tier.scopes.tier, told)
        levels.append((champion, told, words))
    is_allowed, has_value = able
    rows = np.arange(n_series)
    models = np.full(n_series, names.index(LAST_VALUE.name))
    tier_names, reason = np.full(n_series, "baseline", dtype=object), np.full(n_series, "what is left", dtype=object)
    for model, named, said_there in levels:
        is_usable = is_allowed[rows, model] & has_value[rows, model]
        models = np.where(is_usable, model, models)
        tier_names, reason = np.where(is_usable, named, tier_names), np.where(is_usable, said_there, reason)
    is_demoted, has_failed = ~is_allowed[rows, champion], ~has_value[rows, champion]
    fallbacks = np.full(n_series, None, dtype=object)
    fallbacks[has_failed], fallbacks[is_demoted] = MODEL_FAILED, DEMOTED
    name_of = np.array(names, dtype=object)
    lead = np.where(is_demoted, " is demoted; ", np.where(has_failed, " has no value; ", ""))
    lead = np.where(lead == "", "", name_of[champion] + lead)
    return name_of[models], tier_names, lead + reason, fallbacks
