"""A report tells nothing later than its day, no figure twice, and every figure with its unit."""

import re
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pandas as pd
import pytest

from defiyield_assets.domain.reporting.content import build_content
from defiyield_assets.domain.reporting.inputs import ReportInputs
from defiyield_assets_tests.domain.reporting.conftest import DAY, frame, plan_run

Days = Callable[..., ReportInputs]
ANCHORS = (
    *("steps", "plan", "why", "pools", "limits", "left-out", "earned", "nav", "unexplained", "forecasts", "icebox"),
    *("health", "assumed", "next"),
)


def with_the_future(inputs: ReportInputs) -> ReportInputs:
    """Every row of every table once more, dated later and, where it has numbers, with others."""
    changed: dict[str, Any] = {}
    for item in fields(inputs):
        rows = getattr(inputs, item.name)
        if not isinstance(rows, pd.DataFrame) or rows.empty:
            continue
        later = rows.copy()
        for column in ("date", "as_of"):
            if column in later:
                later[column] = [day + timedelta(days=40) for day in later[column]]
        for column in later.columns:
            if later[column].map(lambda value: isinstance(value, float)).any():
                later[column] = later[column].map(lambda value: value * 3 if isinstance(value, float) else value)
        if "run_id" in later:
            later["run_id"] = "zzz"
        changed[item.name] = pd.concat([rows, later], ignore_index=True)
    assert len(changed) > 10
    return replace(inputs, **changed)


def test_rows_later_than_the_day_change_nothing(day_with: Days) -> None:
    assert build_content(with_the_future(day_with())) == build_content(day_with())


def test_a_source_that_is_known_into_the_future_is_not_called_young(day_with: Days) -> None:
    health = build_content(day_with(newest_days={"Gas": DAY + timedelta(days=1)})).section("health")
    assert health is not None
    assert ("Gas", "never told", "") in [row for table in health.tables for row in table.rows]


def test_sections_stand_in_their_order_under_lasting_names(day_with: Days) -> None:
    anchors = [section.anchor for section in build_content(day_with()).sections]
    assert anchors == [anchor for anchor in ANCHORS if anchor in anchors]
    assert set(ANCHORS) - set(anchors) == {"unexplained"}


@pytest.mark.parametrize("n_steps", [0, 4])
def test_no_figure_of_the_headline_stands_there_twice(day_with: Days, n_steps: int) -> None:
    """On a day to hold, the plan and doing nothing are the same: told once."""
    same: dict[str, Any] = {} if n_steps else {"projected_apy": 0.0501, "projected_apy_net": 0.0501}
    content = build_content(day_with(allocation_runs=frame("allocation_runs", plan_run(n_steps=n_steps, **same))))
    values = [fact.value.removesuffix(" APY") for fact in content.facts]
    assert len(values) == len(set(values))
    names = [fact.name for facts in (content.facts, *(section.facts for section in content.sections)) for fact in facts]
    assert len(names) == len(set(names))
    assert len(content.paragraphs) == len(set(content.paragraphs))


def test_money_and_rates_have_their_unit(day_with: Days) -> None:
    """A bare number is a count, or its column says of what."""
    content = build_content(day_with())
    counted = re.compile(
        r"No\.|Pools|Days|Forecasts|MASE|Good (lows|closes)|Assets|Violations|Days old|Earned back in days|Base units"
    )
    for section in content.sections:
        for table in section.tables:
            for place, column in enumerate(table.columns):
                if column.is_number and not counted.search(column.name):
                    cells = [row[place] for row in table.rows if row[place] not in ("", "unknown", "missing")]
                    assert all(re.search(r"[$%]|gwei|pp|points|[A-Z]{3}", cell) for cell in cells), (
                        section.anchor,
                        column,
                    )


def test_nothing_is_told_by_a_dash(day_with: Days) -> None:
    content = build_content(day_with())
    cells = [cell for section in content.sections for table in section.tables for row in table.rows for cell in row]
    assert not {"–", "-", "—", "nan", "None", "NaT"} & set(cells)
