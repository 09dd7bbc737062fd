"""FRED: vintages, missing values, pages, and more vintages than fit one answer."""

from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import httpx
import pytest

from defiyield_assets.errors import VendorAuthError, VendorMalformed, VendorNotFound
from defiyield_assets.sources.fred import (
    LAG_DAYS_BY_FREQUENCY,
    Fred,
    assumed_vintage,
    lag_of,
    parse_observations,
    vintage_spans,
)
from defiyield_assets_tests.sources.conftest import MemoryArchive, Vendors, World, WorldMaker
from defiyield_assets_tests.sources.samples import sample

START, END = date(2025, 10, 20), date(2025, 10, 23)


def telling(answer: Any) -> Callable[[httpx.Request], httpx.Response]:
    """FRED that tells of the series, and gives this answer to every question for its observations."""

    def reply(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=sample("series") if request.url.path.endswith("/series") else answer)

    return reply


def observe(**options: Any) -> Any:
    return lambda gateway: Fred(gateway).observations("DGS1", START, END, **options)


def test_observations_carry_their_vintages(world: WorldMaker) -> None:
    here = world(telling(sample("fred")))
    rows = here.run(observe()).rows
    about, question = here.vendors.requests
    assert (about.url.path, dict(about.url.params)["series_id"]) == ("/fred/series", "DGS1")
    params = question.url.params
    assert (params["realtime_start"], params["realtime_end"]) == ("1776-07-04", "9999-12-31")
    assert (params["observation_start"], params["observation_end"]) == ("2025-10-20", "2025-10-23")
    assert list(rows.columns) == [
        *("series_id", "date", "vintage", "value", "unit", "frequency", "is_vintage_assumed"),
    ]
    assert rows.drop(columns="value").to_numpy().tolist() == [
        ["DGS1", date(2025, 10, 21), date(2025, 10, 22), "Percent", "D", False],
        ["DGS1", date(2025, 10, 21), date(2025, 10, 24), "Percent", "D", False],
        ["DGS1", date(2025, 10, 23), date(2025, 10, 24), "Percent", "D", False],
    ]
    assert rows["value"].tolist()[:2] == [3.5, 3.51]
    assert rows["value"].isna().tolist() == [False, False, True]


def test_without_vintages_the_publication_lag_is_assumed_and_flagged(world: WorldMaker) -> None:
    answer = sample("fred")
    answer["realtime_start"] = answer["realtime_end"] = "2025-10-24"
    answer["observations"] = [{**answer["observations"][0], "realtime_start": "2025-10-24"}]
    rows = world(telling(answer)).run(observe(publication_lag_days=2)).rows
    assert rows[["date", "vintage", "is_vintage_assumed"]].to_numpy().tolist() == [
        [date(2025, 10, 21), date(2025, 10, 23), True]
    ]
    assert world(telling(answer)).run(observe()).rows["vintage"].tolist() == [date(2025, 10, 22)], "daily: the next day"


def test_a_lag_that_is_assumed_is_the_series_own_or_its_frequencys() -> None:
    assert {name: lag_of(name, letter) for name, letter in (("DGS10", "D"), ("CPIAUCSL", "M"), ("FEDFUNDS", "M"))} == {
        "DGS10": 1,
        "CPIAUCSL": 45,
        "FEDFUNDS": 35,
    }
    assert lag_of("ANY", "unheard of") == max(lag_of("ANY", letter) for letter in LAG_DAYS_BY_FREQUENCY)
    friday = date(2025, 10, 24)
    assert assumed_vintage(friday, 1) == date(2025, 10, 27), "nothing is released on a week-end"
    assert assumed_vintage(friday - timedelta(days=1), 1) == friday


def test_what_fred_says_of_a_series_is_of_the_one_that_was_asked_for(world: WorldMaker) -> None:
    with pytest.raises(VendorNotFound, match="does not tell of 'OTHER'"):
        world(telling(sample("fred"))).run(lambda gateway: Fred(gateway).observations("OTHER", START, END))


def test_all_pages_are_read() -> None:
    whole = sample("fred")["observations"]

    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/series"):
            return httpx.Response(200, json=sample("series"))
        offset = int(request.url.params.get("offset", 0))
        return httpx.Response(200, json={**sample("fred"), "observations": whole[offset : offset + 2]})

    here = World(Vendors(reply), MemoryArchive())
    assert len(here.run(observe()).rows) == 3
    assert len(here.vendors.requests) == 3, "one about the series, two pages"


def test_an_empty_series_is_missing(world: WorldMaker) -> None:
    fetched = world(telling({**sample("fred"), "count": 0, "observations": []})).run(observe())
    assert (len(fetched.rows), fetched.missing) == (0, ("DGS1",))


def test_refusals_are_told_apart(world: WorldMaker) -> None:
    for message, error in (
        ("Bad Request.  The value for variable api_key is not registered.", VendorAuthError),
        ("Bad Request.  The series does not exist.", VendorNotFound),
    ):
        here = world(lambda _, message=message: httpx.Response(400, json={"error_code": 400, "error_message": message}))
        with pytest.raises(error):
            here.run(observe())


def test_too_many_vintages_are_asked_for_in_spans() -> None:
    """The answer over spans equals the answer to the whole question, although spans repeat what was known before."""
    first = date(2010, 1, 4)
    versions = {first: ["2010-01-05", "2013-06-01", "2021-03-03"], first + timedelta(days=1): ["2010-01-06"]}

    def rows_between(since: str, until: str) -> list[dict[str, str]]:
        found = []
        for day, vintages in versions.items():
            for number, vintage in enumerate(vintages):
                following = [*vintages, "9999-12-32"][number + 1]
                if vintage <= until and following > since:
                    found.append({"date": day.isoformat(), "realtime_start": max(vintage, since), "value": str(number)})
        return found

    def reply(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/series"):
            return httpx.Response(200, json=sample("series"))
        since, until = request.url.params["realtime_start"], request.url.params["realtime_end"]
        if since == "1776-07-04":
            said = (
                "Bad Request.  There are 4000 vintage dates.  This exceeds the maximum number of vintage dates allowed."
            )
            return httpx.Response(400, json={"error_code": 400, "error_message": said})
        rows = rows_between(since, until)
        body = {
            "realtime_start": since,
            "realtime_end": until,
            "units": "lin",
            "count": len(rows),
            "observations": rows,
        }
        return httpx.Response(200, json=body)

    here = World(Vendors(reply), MemoryArchive())
    fetched = here.run(lambda gateway: Fred(gateway).observations("DGS1", first, first + timedelta(days=1)))
    found = [
        (day, vintage.isoformat(), value)
        for day, vintage, value in fetched.rows[["date", "vintage", "value"]].itertuples(index=False)
    ]
    assert found == [(day, v, float(n)) for day, vintages in versions.items() for n, v in enumerate(vintages)]
    assert not fetched.rows["is_vintage_assumed"].any()


def test_spans_cover_all_time_without_overlap() -> None:
    spans = list(vintage_spans(date(2005, 1, 1), date(2025, 10, 24)))
    assert (spans[0][0], spans[-1][1]) == ("2005-01-01", "9999-12-31")
    for (_, until), (since, _) in pairwise(spans):
        assert date.fromisoformat(until) + timedelta(days=1) == date.fromisoformat(since)
    assert date(2025, 10, 24) - date.fromisoformat(spans[-1][0]) < timedelta(days=4 * 365)


@pytest.mark.parametrize("field", ["date", "realtime_start", "value"])
def test_a_missing_field_is_named(field: str) -> None:
    answer = sample("fred")
    del answer["observations"][2][field]
    with pytest.raises(VendorMalformed, match=f"'{field}' of row 2 is missing"):
        parse_observations(answer)
