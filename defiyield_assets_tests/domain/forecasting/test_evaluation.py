"""Champions: made-up evidence in which it is known who is better, and a second implementation in loops."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats

from defiyield_assets.domain.forecasting.backtests import Backtest
from defiyield_assets.domain.forecasting.diebold_mariano import p_values
from defiyield_assets.domain.forecasting.evaluation import EVIDENCE_COLUMNS, Champions, choose_champions

N_ORIGINS = 20
NAN = np.nan


def pools(n: int) -> list[str]:
    return [f"pool-{number:02d}" for number in range(n)]


def evidence(
    losses: Mapping[str, float | NDArray[np.float64]],
    n_series: int = 6,
    horizon: int = 7,
    n_origins: int = N_ORIGINS,
    noise: float = 0.05,
) -> Backtest:
    """Models whose absolute errors are those given (scalar, per series, or whole) with noise; actuals are 0.05."""
    random = np.random.default_rng(3)
    shape = (n_series, n_origins)
    actual = np.full(shape, 0.05)
    forecasts = {}
    for name, loss in losses.items():
        column = np.asarray(loss, dtype=float)
        size = np.broadcast_to(column[:, None] if column.ndim == 1 else column, shape)
        forecasts[name] = actual + size * random.normal(1.0, noise, shape)
    now = {name: np.full(n_series, 0.05) for name in losses}
    origins = 7 * np.arange(n_origins, dtype=np.int64)
    return Backtest("apy", horizon, origins, forecasts, actual, np.ones(shape), now, np.ones(n_series))


def choose(backtest: Backtest, groups: Sequence[str | None] | None = None, **options: object) -> Champions:
    n_series = len(backtest.actual)
    return choose_champions(
        backtest, pools(n_series), ["all"] * n_series if groups is None else groups, "combination", **options
    )


USUAL = {"last_value": 0.02, "combination": 0.01}


def test_without_a_better_challenger_the_baseline_stands() -> None:
    champions = choose(evidence({**USUAL, "ses": 0.01, "ewma_03": 0.0102}))
    assert set(champions.models) == {"combination"}
    assert set(champions.tiers) == {"baseline"}
    assert set(champions.fallbacks) == {None}
    assert set(champions.reasons) == {"the baseline combination stands"}


def test_a_challenger_that_is_a_little_better_everywhere_wins_the_panel() -> None:
    champions = choose(evidence({**USUAL, "ses": 0.0096}))
    assert set(champions.models) == {"ses"}
    assert set(champions.tiers) == {"panel"}
    assert champions.reasons[0].startswith("panel all: 3.7% ")
    assert champions.reasons[0].endswith("better than combination, p 0.000, 20 origins")


def test_a_group_chooses_for_itself() -> None:
    loss = np.array([0.009, 0.009, 0.009, 0.0115, 0.0115, 0.0115])
    champions = choose(evidence({**USUAL, "ses": loss}), ["low"] * 3 + ["high"] * 3)
    assert list(champions.models) == ["ses"] * 3 + ["combination"] * 3
    assert list(champions.tiers) == ["group"] * 3 + ["baseline"] * 3


def test_a_group_of_two_or_a_pool_in_no_group_takes_the_panels_champion() -> None:
    loss = np.array([0.009, 0.009, 0.0115, 0.0115, 0.0115, 0.0115])
    backtest = evidence({**USUAL, "ses": loss}, horizon=30)
    assert set(choose(backtest, ["low"] * 2 + ["high"] * 4).models) == {"combination"}
    assert set(choose(backtest, [None] * 6).models) == {"combination"}


@pytest.mark.parametrize(("n_series", "model"), [(1, "combination"), (2, "combination"), (3, "ses")])
def test_a_panel_of_one_or_two_pools_does_not_choose(n_series: int, model: str) -> None:
    champions = choose(evidence({**USUAL, "ses": 0.009}, n_series, horizon=30), [None] * n_series)
    assert set(champions.models) == {model}
    row = champions.evidence.query("scope == 'panel' and model == 'ses'").iloc[0]
    assert row["is_champion"] == (model == "ses")
    assert np.isnan(row["p_value"]) == (n_series < 3)
    # Within a week such pools choose for themselves, by what is asked of a pool.
    weekly = choose(evidence({**USUAL, "ses": 0.009}, n_series), [None] * n_series)
    assert set(zip(weekly.models, weekly.tiers, strict=True)) == {("ses", "pool" if n_series < 3 else "panel")}


def test_a_pool_chooses_for_itself_up_to_a_week_and_its_group_at_thirty_days() -> None:
    loss = np.array([0.009, *[0.0115] * 5])
    champions = choose(evidence({**USUAL, "ses": loss}))
    assert list(champions.models) == ["ses"] + ["combination"] * 5
    assert champions.tiers[0] == "pool"
    assert set(choose(evidence({**USUAL, "ses": loss}, horizon=30)).models) == {"combination"}


def test_a_group_and_a_pool_ask_for_five_per_cent() -> None:
    loss = np.array([0.0097, *[0.0115] * 5])
    champions = choose(evidence({**USUAL, "ses": loss}, noise=0.01))
    assert set(champions.models) == {"combination"}
    row = champions.evidence.query("scope == 'pool' and scope_id == 'pool-00' and model == 'ses'").iloc[0]
    assert row["p_value"] < 0.01
    assert row["reason"].endswith("needed: 5% better and p < 0.01")


def test_luck_at_one_origin_is_not_enough() -> None:
    loss = np.full((6, N_ORIGINS), 0.0101)
    loss[:, 0] = 0.001
    champions = choose(evidence({**USUAL, "ses": loss}))
    assert champions.evidence.query("scope == 'panel' and model == 'ses'")["skill"].iloc[0] > 0.51
    assert set(champions.models) == {"combination"}


def test_a_wild_series_does_not_choose_for_the_others() -> None:
    steady = np.array([4.0, *[0.0102] * 5])
    base = np.array([5.0, *[0.01] * 5])
    backtest = evidence({"last_value": base, "combination": base, "ses": steady}, noise=0.01)
    champions = choose(backtest, [None] * 6)
    assert list(champions.models) == ["ses"] + ["combination"] * 5
    assert champions.tiers[0] == "pool"
    row = champions.evidence.query("scope == 'panel' and model == 'ses'").iloc[0]
    assert row["skill"] > 0.15
    assert row["reason"].endswith("but worse for most series")


@pytest.mark.parametrize(("n_origins", "model"), [(7, "combination"), (8, "ses")])
def test_eight_origins_are_needed(n_origins: int, model: str) -> None:
    assert set(choose(evidence({**USUAL, "ses": 0.005}, n_origins=n_origins)).models) == {model}


def test_origins_whose_horizon_is_not_over_do_not_count() -> None:
    backtest = evidence({**USUAL, "ses": 0.005}, n_origins=10)
    backtest.actual[:, 7:] = NAN
    champions = choose(backtest)
    assert set(champions.models) == {"combination"}
    assert champions.evidence["n_origins"].max() == 7


def test_what_the_forecasts_say_where_nothing_has_happened_yet_changes_nothing() -> None:
    backtest = evidence({**USUAL, "ses": 0.0098})
    backtest.actual[:, 15:] = NAN
    before = choose(backtest)
    for forecast in backtest.forecasts.values():
        forecast[:, 15:] = 99.0
    after = choose(replace(backtest, scales=backtest.scales * 7, scale_now=backtest.scale_now * 7))
    pd.testing.assert_frame_equal(before.evidence, after.evidence, check_exact=True)
    assert list(before.models) == list(after.models)


def test_a_model_is_judged_on_the_cells_that_both_have() -> None:
    hardness = np.linspace(0.2, 3.0, N_ORIGINS)[None, :] * np.ones((6, 1))
    easy_only = 0.0102 * hardness
    easy_only[:, 12:] = NAN
    backtest = evidence({"last_value": 0.02 * hardness, "combination": 0.01 * hardness, "ses": easy_only})
    champions = choose(backtest)
    assert set(champions.models) == {"combination"}
    panel = champions.evidence.query("scope == 'panel'").set_index("model")
    assert panel.loc["ses", "n_forecasts"] == 12 * 6
    assert panel.loc["ses", "mae"] < panel.loc["combination", "mae"]
    assert panel.loc["ses", "skill"] == pytest.approx(panel.loc["combination", "skill"], abs=0.02)


def test_cells_that_the_incumbent_lacks_do_not_count_for_the_challenger() -> None:
    backtest = evidence({**USUAL, "ses": 0.0105})
    backtest.forecasts["combination"][:, ::2] = NAN
    backtest.forecasts["ses"][:, ::2] = backtest.actual[:, ::2]
    champions = choose(backtest)
    assert set(champions.models) == {"combination"}
    row = champions.evidence.query("scope == 'panel' and model == 'ses'").iloc[0]
    assert "worse than combination" in row["reason"]
    assert "10 origins" in row["reason"]


def test_the_p_value_of_a_pool_is_that_of_a_t_test_on_its_common_origins() -> None:
    backtest = evidence({**USUAL, "ses": 0.0098}, noise=0.2)
    backtest.forecasts["ses"][:, 3:7] = NAN
    backtest.forecasts["combination"][:, 12] = NAN
    found = choose(backtest).evidence.query("scope == 'pool' and model == 'ses'")["p_value"]
    errors = {name: np.abs(values - backtest.actual) for name, values in backtest.forecasts.items()}
    gains = errors["combination"] - errors["ses"]
    expected = stats.ttest_1samp(gains, 0.0, axis=1, alternative="greater", nan_policy="omit").pvalue
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_of_several_that_pass_the_one_with_the_largest_gain_wins() -> None:
    restless = np.full((6, N_ORIGINS), 0.004)
    restless[:, ::2] = 0.009
    champions = choose(evidence({**USUAL, "a_steady": 0.008, "restless": restless, "z_steady": 0.008}, noise=0.01))
    assert set(champions.models) == {"restless"}
    panel = champions.evidence.query("scope == 'panel'").set_index("model")
    assert panel.loc["restless", "p_value"] > panel.loc["a_steady", "p_value"]
    assert panel.loc["a_steady", "reason"].endswith("restless is better")


def test_equal_challengers_are_chosen_by_name_and_an_equal_one_never_replaces() -> None:
    backtest = evidence({**USUAL, "ses": 0.005})
    twins = {**backtest.forecasts, "a_twin": backtest.forecasts["ses"], "z_twin": backtest.forecasts["ses"]}
    now = dict.fromkeys(twins, backtest.now["ses"])
    assert set(choose(replace(backtest, forecasts=twins, now=now)).models) == {"a_twin"}
    copies = {**backtest.forecasts, "a_copy": backtest.forecasts["combination"]}
    del copies["ses"]
    assert set(choose(replace(backtest, forecasts=copies, now=now)).models) == {"combination"}


def test_the_order_of_series_changes_not_a_bit() -> None:
    random = np.random.default_rng(5)
    backtest = evidence({name: random.uniform(0.005, 0.02, 12) for name in ("last_value", "combination", "ses")}, 12)
    ids, groups = pools(12), [f"g{number % 3}" for number in range(12)]
    first = choose_champions(backtest, ids, groups, "combination")
    assert len(set(first.models)) > 1
    shuffled = random.permutation(12)
    mixed = replace(
        backtest,
        forecasts={name: values[shuffled] for name, values in reversed(backtest.forecasts.items())},
        actual=backtest.actual[shuffled],
    )
    second = choose_champions(mixed, [ids[row] for row in shuffled], [groups[row] for row in shuffled], "combination")
    pd.testing.assert_frame_equal(first.evidence, second.evidence, check_exact=True)
    for name in ("models", "tiers", "reasons", "fallbacks"):
        assert list(getattr(first, name)[shuffled]) == list(getattr(second, name))


def test_a_demoted_champion_makes_room_for_the_tier_above() -> None:
    loss = np.array([0.009, *[0.0115] * 5])
    backtest = evidence({**USUAL, "ses": loss})
    champions = choose(backtest, barred=[("pool-00", "ses"), ("pool-01", "combination"), ("pool-02", "last_value")])
    assert list(champions.models[:3]) == ["combination", "last_value", "combination"]
    assert list(champions.fallbacks[:3]) == ["DEMOTED", "DEMOTED", None]
    assert list(champions.tiers[:2]) == ["baseline", "baseline"]
    assert champions.reasons[0] == "ses is demoted; the baseline combination stands"
    naive = choose(evidence({"last_value": 0.005, "combination": 0.01}), barred=[("pool-03", "last_value")])
    assert (naive.models[3], naive.fallbacks[3]) == ("last_value", None)
    both = choose(backtest, barred=[("pool-00", "ses"), ("pool-00", "combination")])
    assert (both.models[0], both.fallbacks[0]) == ("last_value", "DEMOTED")
    pd.testing.assert_frame_equal(both.evidence, champions.evidence)


def test_a_champion_without_a_value_now_makes_room_and_one_that_was_not_asked_does_not() -> None:
    backtest = evidence({**USUAL, "ses": 0.005})
    backtest.now["ses"][2] = NAN
    champions = choose(backtest)
    assert list(champions.models[:3]) == ["ses", "ses", "combination"]
    assert list(champions.fallbacks[:3]) == [None, None, "MODEL_FAILED"]
    assert champions.reasons[2].startswith("ses has no value; the baseline combination")
    unasked = {name: values for name, values in backtest.now.items() if name != "ses"}
    assert set(choose(replace(backtest, now=unasked)).models) == {"ses"}


def test_a_costly_model_wins_pools_only() -> None:
    backtest = evidence({**USUAL, "prophet": np.array([0.005] * 5 + [0.02])})
    assert choose(backtest).tiers[0] == "panel"
    champions = choose(backtest, pool_only={"prophet"})
    assert list(champions.models) == ["prophet"] * 5 + ["combination"]
    assert list(champions.tiers) == ["pool"] * 5 + ["baseline"]
    monthly = choose(replace(backtest, horizon_days=30), pool_only={"prophet"})
    assert set(monthly.models) == {"combination"}


def test_series_without_evidence_take_their_groups_champion() -> None:
    backtest = evidence({**USUAL, "ses": 0.005})
    backtest.actual[0] = NAN
    champions = choose(backtest)
    assert champions.models[0] == "ses"
    assert "pool-00" not in set(champions.evidence["scope_id"])


def test_a_constant_zero_has_a_champion_and_no_skill() -> None:
    backtest = evidence({"last_value": 0.0, "combination": 0.0, "ses": 0.0})
    champions = choose(backtest)
    assert set(champions.models) == {"combination"}
    assert champions.evidence["skill"].isna().all()
    assert (champions.evidence["mae"] == 0.0).all()


def test_a_panel_without_series_has_no_champions() -> None:
    champions = choose(evidence(USUAL, n_series=0))
    assert len(champions.models) == 0
    assert set(EVIDENCE_COLUMNS) == set(champions.evidence.columns)


def test_a_missing_baseline_is_refused() -> None:
    with pytest.raises(ValueError, match="combination"):
        choose(evidence({"last_value": 0.01}))


def test_the_evidence_adds_up() -> None:
    random = np.random.default_rng(9)
    backtest = evidence({name: random.uniform(0.005, 0.02, 6) for name in ("last_value", "combination", "ses")})
    backtest.forecasts["ses"][random.random((6, N_ORIGINS)) < 0.2] = NAN
    backtest.forecasts["last_value"][random.random((6, N_ORIGINS)) < 0.2] = NAN
    backtest.actual[random.random((6, N_ORIGINS)) < 0.1] = NAN
    groups = ["a", "a", "a", "b", "b", "b"]
    found = choose(backtest, groups).evidence
    assert list(found.columns) == list(EVIDENCE_COLUMNS)
    cells = pd.DataFrame(
        {
            "pool": np.repeat(pools(6), N_ORIGINS),
            "group": np.repeat(groups, N_ORIGINS),
            "panel": "all",
            "origin": np.tile(np.arange(N_ORIGINS), 6),
            "error": (backtest.forecasts["ses"] - backtest.actual).ravel(),
            "naive": np.abs(backtest.forecasts["last_value"] - backtest.actual).ravel(),
        }
    ).dropna()
    for scope in ("panel", "group", "pool"):
        rows = found.query("scope == @scope and model == 'ses'").set_index("scope_id")
        by_scope = cells.assign(loss=cells["error"].abs()).groupby(scope)
        np.testing.assert_allclose(rows["mae"], by_scope["loss"].mean(), rtol=1e-12)
        np.testing.assert_allclose(rows["mae_last_value"], by_scope["naive"].mean(), rtol=1e-12)
        np.testing.assert_allclose(rows["skill"], 1 - by_scope["loss"].mean() / by_scope["naive"].mean(), rtol=1e-9)
        np.testing.assert_allclose(rows["bias"], by_scope["error"].mean(), rtol=1e-9)
        np.testing.assert_array_equal(rows["n_forecasts"], by_scope.size())
        np.testing.assert_array_equal(rows["n_origins"], by_scope["origin"].nunique())
    assert (found.groupby(["scope", "scope_id"])["is_champion"].sum() == 1).all()


def slow_choice(backtest: Backtest, groups: Sequence[str], horizon: int) -> list[str]:
    """The rules once more, series by series and model by model."""
    window = -(-horizon // 7)

    def duel(rows: list[int], incumbent: str, margin: float) -> str:
        best, best_gain = incumbent, 0.0
        for name in sorted(set(backtest.forecasts) - {incumbent}):
            gained, lost, per_origin, by_row = 0.0, 0.0, [], dict.fromkeys(rows, 0.0)
            for origin in range(backtest.actual.shape[1]):
                gaps = []
                for row in rows:
                    rival = abs(backtest.forecasts[incumbent][row, origin] - backtest.actual[row, origin])
                    own = abs(backtest.forecasts[name][row, origin] - backtest.actual[row, origin])
                    if not np.isnan(rival - own):
                        gaps.append(rival - own)
                        by_row[row] += rival - own
                        lost += rival
                if gaps:
                    gained += sum(gaps)
                    per_origin.append(sum(gaps))
            if len(per_origin) < 8 or gained < margin * lost or gained / lost <= best_gain:
                continue
            if sum(np.sign(gain) for gain in by_row.values()) < 0:
                continue
            if p_values(np.array([per_origin]), window)[0] < 0.01:
                best, best_gain = name, gained / lost
        return best

    panel = duel(list(range(len(groups))), "combination", 0.01)
    chosen = []
    for row, group in enumerate(groups):
        members = [other for other, name in enumerate(groups) if name == group]
        of_group = duel(members, panel, 0.05) if len(members) >= 3 else panel
        chosen.append(duel([row], of_group, 0.05) if horizon < 30 else of_group)
    return chosen


@pytest.mark.parametrize("horizon", [1, 7, 30])
@pytest.mark.parametrize("seed", range(8))
def test_a_second_implementation_in_loops_chooses_the_same(seed: int, horizon: int) -> None:
    random = np.random.default_rng(seed)
    names = ["last_value", "combination", "ses", "ewma_03", "theta"]
    shape = (9, 16)
    actual = random.lognormal(-3.0, 1.0, shape[0])[:, None] * random.lognormal(0.0, 0.2, shape)
    forecasts = {name: actual * random.lognormal(0.0, random.uniform(0.1, 0.3), shape) for name in names}
    forecasts["theta"][random.random(shape) < 0.3] = NAN
    forecasts["combination"][random.random(shape) < 0.1] = NAN
    actual[random.random(shape) < 0.1] = NAN
    groups = [["a", "b", "c"][row] for row in random.integers(0, 3, shape[0])]
    now = {name: np.ones(shape[0]) for name in names}
    backtest = Backtest("apy", horizon, np.arange(16), forecasts, actual, actual, now, np.ones(shape[0]))
    assert list(choose(backtest, groups).models) == slow_choice(backtest, groups, horizon)
