"""The weekly evaluation: its calendar, its pools, its origins."""

from datetime import date, timedelta

import pytest

from defiyield_assets.domain.forecasting.cache import MemoryCache
from defiyield_assets.domain.forecasting.costly import COSTLY_BUDGET_SECONDS, COSTLY_MODELS, COSTLY_TARGETS
from defiyield_assets.domain.forecasting.panel import day_number
from defiyield_assets.domain.forecasting.weekly import evaluate_costly, last_evaluation, next_evaluation
from defiyield_assets.domain.policy import Parameters
from defiyield_assets.settings import Settings
from defiyield_assets.store import schema
from defiyield_assets_tests.domain.forecasting.conftest import make_histories

DUE = date(2025, 6, 5)


@pytest.mark.parametrize("offset", range(7))
def test_every_day_belongs_to_the_evaluation_of_its_week(offset: int) -> None:
    day = DUE + timedelta(days=offset)
    assert last_evaluation(day) == DUE
    assert next_evaluation(day) == DUE + timedelta(days=7)
    assert day_number(DUE) % 7 == 0


def test_an_evaluation_holds_the_origins_that_the_coming_week_looks_back_on() -> None:
    histories = make_histories(n_pools=3, n_days=260, last_day=DUE)
    silent = histories["pool_id"] == "pool-000"
    histories = histories[~silent | (histories["date"] < DUE - timedelta(days=10))]
    (theta,) = (model for model in COSTLY_MODELS if model.name == "theta")
    budget_seconds = 2 * 27 * len(COSTLY_TARGETS) * theta.milliseconds_a_fit / 1000.0 + 1e-6
    rows = evaluate_costly(histories, DUE, Parameters(), cache=MemoryCache(), budget_seconds=budget_seconds)
    assert set(rows) == {column.name for column in schema.costly_candidates.columns}
    assert set(rows["as_of"]) == {DUE}
    assert set(rows["origin"]) == {DUE - timedelta(days=7 * back) for back in range(27)}
    fitted = rows[rows["model"] == "theta"]
    assert set(fitted["pool_id"]) == {"pool-001", "pool-002"}, "a silent pool gets no forecast, so it costs nothing"
    assert "prophet" not in set(rows["model"]), "the budget holds no pool's fits of what takes longest"
    assert fitted.loc[fitted["origin"] == DUE, "mean"].notna().all()


def test_without_a_budget_nothing_is_fitted() -> None:
    rows = evaluate_costly(
        make_histories(n_days=60, last_day=DUE), DUE, Parameters(), cache=MemoryCache(), budget_seconds=0.0
    )
    assert rows.empty


def test_the_setting_has_the_budget_that_the_models_state() -> None:
    assert Settings.model_fields["costly_budget_seconds"].default == COSTLY_BUDGET_SECONDS
