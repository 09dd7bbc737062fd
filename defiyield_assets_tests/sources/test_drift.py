"""Tests of sources/drift.py: what has changed in an endpoint's answers, and what that is to us.

Not here: what a run makes of it (orchestration/test_sources.py).
"""

import json
from pathlib import Path
from typing import Any

import pytest

from defiyield_assets.sources.drift import SAMPLE, SHAPES, Drift, Shape, drift_of_bodies

SHAPE = Shape(
    used={"data[].id": "s", "data[].size": "nz", "coins{}.price": "n", "data[].maybe": "n", "holder.1. open": "s"},
    ignored={"status": "s", "data[].extra": "o"},
    keyed=frozenset({"coins"}),
    rare=frozenset({"data[].maybe", "holder"}),
)
WHOLE = {
    "status": "ok",
    "data": [{"id": "a", "size": 1.5, "extra": {"anything": [1]}}, {"id": "b", "size": None, "extra": {}}],
    "coins": {"x:0x1": {"price": 1}, "x:0x2": {"price": 2.0}},
}


def drift(*documents: Any, shape: Shape = SHAPE) -> Drift:
    return drift_of_bodies(shape, [json.dumps(document).encode() for document in documents])


def test_an_answer_as_declared_has_not_drifted() -> None:
    assert drift(WHOLE).is_none
    assert drift(WHOLE, WHOLE).is_none
    assert str(drift(WHOLE)) == "no drift"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param({"later": 1}, Drift(new=("later",)), id="a new field at the top"),
        pytest.param(
            {"data": [{"id": "a", "size": 1, "extra": {}, "apy": 2}]}, Drift(new=("data[].apy",)), id="in a row"
        ),
        pytest.param({"status": 1}, Drift(retyped=("status (number)",)), id="another type of what nobody reads"),
        pytest.param({"data": [{"id": "a", "size": 1}]}, Drift(missing=("data[].extra",)), id="nobody misses it"),
        pytest.param({"data": [{"size": 1, "extra": {}}]}, Drift(broken=("data[].id (gone)",)), id="a used one"),
        pytest.param(
            {"data": [{"id": "a", "size": "1", "extra": {}}]},
            Drift(broken=("data[].size (string)",)),
            id="a used one of another type",
        ),
        pytest.param(
            {"data": [{"id": "a", "size": 1, "extra": {}, "maybe": True}]},
            Drift(broken=("data[].maybe (boolean)",)),
            id="a rare one of another type",
        ),
        pytest.param({"data": [], "coins": {}}, Drift(), id="nothing there to judge"),
        pytest.param({"holder": {"1. open": "2"}}, Drift(), id="a name with a dot, in a holder that is rare"),
        pytest.param(
            {"holder": {"2. high": "2"}},
            Drift(broken=("holder.1. open (gone)",), new=("holder.2. high",)),
            id="not there, in a holder that is",
        ),
        pytest.param({"coins": {"x:0x1": {}}}, Drift(broken=("coins{}.price (gone)",)), id="below ids"),
    ],
)
def test_a_change_is_told_by_its_path(change: dict[str, Any], expected: Drift) -> None:
    assert drift(WHOLE | change) == expected


def test_what_held_the_used_fields_may_be_gone_as_well() -> None:
    found = drift({"status": "ok", "coins": {}})
    assert found.broken == ("data[].id (gone)", "data[].size (gone)")


def test_a_field_that_one_answer_has_is_not_gone() -> None:
    lacking = {"status": "ok", "data": [{"id": "a", "extra": {}}]}
    assert drift(lacking, WHOLE).is_none
    assert drift(lacking).broken == ("coins{}.price (gone)", "data[].size (gone)")


def test_nothing_to_look_at_is_no_drift() -> None:
    assert drift_of_bodies(SHAPE, []).is_none
    assert drift_of_bodies(SHAPE, [b"<html>", b"", b"{"]).is_none, "the parser has refused these"


def test_of_a_long_list_a_sample_is_enough() -> None:
    rows = [{"id": "a", "size": 1, "extra": {}} for _ in range(SAMPLE * 10)]
    assert drift(WHOLE | {"data": rows}).is_none
    for row in rows:
        del row["size"]
    assert drift(WHOLE | {"data": rows}).broken == ("data[].size (gone)",)


def test_used_and_ignored_fields_are_told_apart_and_rare_ones_are_known() -> None:
    for shape in SHAPES.values():
        containers = {path for path in shape.used if shape.used[path] in ("l", "lz", "o")}
        assert not (set(shape.used) & set(shape.ignored)) - containers
        assert shape.rare <= {*shape.used, *shape.ignored}
        assert all(set(types) <= set("nsbzol") for types in (*shape.used.values(), *shape.ignored.values()))


RECORDED = {
    "yields/defillama_pools_api_shape_stables151_2026-03-02.json": ("defillama_yields", "/pools"),
    "fixtures/fred/series_observations_HQMCB10YR.json": ("fred", "/series/observations"),
    "fixtures/coinmarketcap/ohlcv_historical_docs_example_BTC_2019-01.json": (
        "coinmarketcap",
        "/v2/cryptocurrency/ohlcv/historical",
    ),
}
"""Recorded answer -> the endpoint that it is one of."""


@pytest.mark.recorded
@pytest.mark.parametrize("name", RECORDED)
def test_no_used_field_is_missing_from_a_recorded_answer(recorded_data: Path, name: str) -> None:
    document = json.loads((recorded_data / name).read_text(encoding="utf-8"))
    if "quotes" in document:  # the documentation's example is the coin alone
        document = {"data": {str(document["id"]): document}}
    assert drift(document, shape=SHAPES[RECORDED[name]]).broken == ()
