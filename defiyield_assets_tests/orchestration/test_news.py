"""The assets of news: on from the watermark, nothing lost and nothing twice, hostile titles, no look ahead, no key."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from defiyield_assets.config.instruments import load_instruments
from defiyield_assets.config.loader import load_policy
from defiyield_assets.definitions import build_resources
from defiyield_assets.domain.days import DayRange, end_of, market_stamp, start_of
from defiyield_assets.domain.news.articles import Post
from defiyield_assets.domain.news.canonical_urls import article_id, canonical_url
from defiyield_assets.domain.news.coverage import Span
from defiyield_assets.domain.prices.instruments import build_instruments
from defiyield_assets.orchestration import news_reading
from defiyield_assets.orchestration.assets import news as assets
from defiyield_assets.orchestration.checks import news as checks
from defiyield_assets.orchestration.jobs import update_news
from defiyield_assets.orchestration.news_inputs import read_news
from defiyield_assets.orchestration.resources import MarketResource, PolicyResource
from defiyield_assets.orchestration.schedules import SCHEDULES, hourly_news_schedule
from defiyield_assets.simulator.faults import FaultKind, FaultRule
from defiyield_assets.sources.cryptopanic import Feed, Reading
from defiyield_assets.store import news, reads, schema, writes
from defiyield_assets_tests.domain.news.made import NOON, VOTES, at, post
from defiyield_assets_tests.installations import FIRST, Installation, day_after
from defiyield_assets_tests.served_market import (
    SECRETS,
    ServedMarket,
    environment,
    generated_market,
    hurried,
    live_installation,
    serving,
)

TABLES = (
    schema.news_articles,
    schema.news_votes,
    schema.news_instrument_links,
    schema.news_coverage,
    schema.news_sentiment,
)
CHECKS = [
    checks.published_before_told,
    checks.votes_are_not_negative,
    checks.links_are_known,
    checks.feed_has_no_hole,
    checks.every_hour_with_news_has_its_row,
    checks.hours_rest_on_the_past,
]
BTC = "crypto:BTC"


def with_instruments(made: Installation) -> Installation:
    """The installation, migrated, with the instruments that it is shipped with."""
    made.warehouse.migrate()
    listed = build_instruments(load_policy(FIRST).policy.tokens, load_instruments().instruments)
    writes.upsert(made.engine, schema.instruments, listed)
    return made


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """A migrated installation that knows its instruments and no news."""
    return with_instruments(Installation(tmp_path_factory.mktemp("blank")))


def resources_of(made: Installation) -> dict[str, Any]:
    return {**build_resources(made.settings), "warehouse": made.warehouse, **made.overrides}


def update(made: Installation, *, checked: bool = False, **config: Any) -> dg.ExecuteInProcessResult:
    """One run of all assets of news, with their checks where that is said."""
    with dg.DagsterInstance.ephemeral() as instance:
        return dg.materialize(
            [assets.news_tables, assets.news_sentiment, *(CHECKS if checked else [])],
            resources=resources_of(made),
            instance=instance,
            raise_on_error=False,
            run_config={
                "ops": {"news_tables": {"config": config}},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
        )


def told(result: dg.ExecuteInProcessResult, asset: str = "news_articles") -> dict[str, Any]:
    """What an asset told of its run."""
    for event in result.get_asset_materialization_events():
        if event.asset_key == dg.AssetKey(asset):
            return {name: value.value for name, value in event.materialization.metadata.items()}
    return {}


def failures(result: dg.ExecuteInProcessResult) -> list[str]:
    return sorted(one.check_name for one in result.get_asset_check_evaluations() if not one.passed)


def contents(made: Installation, without: Sequence[str] = ()) -> dict[str, str]:
    return {table.name: made.fingerprint(table) for table in TABLES if table.name not in without}


def posts_of(made: Installation, since: datetime, day: date) -> list[Any]:
    market = made.simulation
    return [post for post in market.news(day) if post.published_at >= since and post.region == "en"]


@pytest.fixture(scope="module")
def two_days(blank: Installation, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    """An installation that read the news of one day, and then of the next."""
    made = blank.copy_to(tmp_path_factory.mktemp("two-days") / "here")
    for day in (FIRST, day_after(FIRST)):
        result = update(made, checked=True, through=day.isoformat())
        assert result.success
        assert failures(result) == []
    return made


def test_every_post_is_there_once_and_every_article_is_one(two_days: Installation) -> None:
    since, last = market_stamp(FIRST) - timedelta(days=7), day_after(FIRST)
    posts = posts_of(two_days, since, last)
    wanted = {article_id(canonical_url(post.url)) for post in posts}
    rows = two_days.rows(schema.news_articles)
    assert wanted <= set(rows["article_id"])
    assert len(rows) == rows["article_id"].nunique()
    named = rows["post_ids"].str.split(",").explode()
    assert named.is_unique
    assert {str(post.post_id) for post in posts} <= set(named)
    assert len(named) > len(rows), "some articles were posted twice"


def test_links_are_to_instruments_and_unknown_codes_are_counted(two_days: Installation) -> None:
    links, rows = two_days.rows(schema.news_instrument_links), two_days.rows(schema.news_articles)
    assert BTC in set(links["instrument_id"])
    codes = rows.set_index("article_id")["codes"]
    assert all(code in codes[name].split(",") for name, code in zip(links["article_id"], links["code"], strict=True))
    unknown = rows[rows["n_unknown_codes"] > 0]
    assert len(unknown)
    assert unknown["codes"].str.contains("NEVERCOIN|QUUX").all()


def test_votes_are_kept_as_they_were_told_each_day(two_days: Installation) -> None:
    votes = two_days.rows(schema.news_votes)
    stamps = {market_stamp(FIRST), market_stamp(day_after(FIRST))}
    assert set(votes["told_at"]) == stamps
    market = {str(post.post_id): post for post in two_days.simulation.news(day_after(FIRST))}
    for row in votes.to_dict("records"):
        assert {name: row[name] for name in schema.VOTES} == market[row["post_id"]].votes_at(row["told_at"])
    twice = votes[votes.duplicated("post_id", keep=False)]
    assert len(twice), "votes of the last hours before the watermark were told again"


@pytest.mark.nightly
def test_the_watermark_is_the_stamp_and_only_what_is_newer_is_read(two_days: Installation, tmp_path: Path) -> None:
    spans = two_days.rows(schema.news_coverage)
    assert len(spans) == 1
    assert spans["read_through"].iloc[0] == market_stamp(day_after(FIRST))
    assert spans["read_from"].iloc[0] == market_stamp(FIRST) - timedelta(days=7)
    copy = two_days.copy_to(tmp_path / "copy")
    facts = told(update(copy, through=day_after(FIRST, 2).isoformat()))
    # What the next day adds, and the hours before the watermark.
    newer = posts_of(copy, market_stamp(day_after(FIRST)) - timedelta(hours=6), day_after(FIRST, 2))
    assert facts["posts"] < len(newer) + 2 * 20
    assert facts["read_back_to"] == (market_stamp(day_after(FIRST)) - timedelta(hours=6)).isoformat()


@pytest.mark.nightly
def test_a_run_again_changes_nothing(two_days: Installation, tmp_path: Path) -> None:
    copy = two_days.copy_to(tmp_path / "copy")
    before = contents(copy)
    result = update(copy, through=day_after(FIRST).isoformat())
    assert result.success
    assert told(result)["new_articles"] == 0
    assert contents(copy) == before
    assert update(copy, through=FIRST.isoformat()).success, "an older day that runs again takes nothing back"
    assert contents(copy) == before


@pytest.mark.nightly
def test_a_range_read_at_once_holds_the_articles_of_its_days(
    blank: Installation, two_days: Installation, tmp_path: Path
) -> None:
    made = blank.copy_to(tmp_path / "at-once")
    first = date(2025, 5, 20)
    result = update(made, checked=True, since=first.isoformat(), through=day_after(FIRST).isoformat())
    assert failures(result) == []
    rows = made.rows(schema.news_articles)
    posts = posts_of(made, start_of(first), day_after(FIRST))
    assert {article_id(canonical_url(post.url)) for post in posts} <= set(rows["article_id"])
    both = made.rows(schema.news_articles).merge(two_days.rows(schema.news_articles), on="article_id")
    assert len(both) > 100
    assert (both["title_x"] == both["title_y"]).all()
    assert (both["published_at_x"] == both["published_at_y"]).all()


@pytest.mark.nightly
def test_reading_further_back_fills_in_and_scores_the_hours_before(two_days: Installation, tmp_path: Path) -> None:
    copy = two_days.copy_to(tmp_path / "copy")
    oldest = copy.rows(schema.news_sentiment)["hour"].min()
    result = update(copy, checked=True, since="2025-05-15", through=day_after(FIRST).isoformat())
    assert failures(result) == []
    assert copy.rows(schema.news_sentiment)["hour"].min() < oldest - timedelta(days=10)
    assert len(copy.rows(schema.news_coverage)["read_from"].unique()) >= 1
    assert min(copy.rows(schema.news_coverage)["read_from"]) == start_of(date(2025, 5, 15))


@pytest.mark.nightly
def test_a_reading_that_ends_at_the_most_pages_tells_of_the_hole(
    blank: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = blank.copy_to(tmp_path / "here")
    monkeypatch.setenv("DEFIYIELD_NEWS_FIRST_DAYS", "1")
    update(made, through="2025-05-20")
    monkeypatch.setenv("DEFIYIELD_NEWS_MAX_PAGES", "2")
    result = update(made, checked=True, through=FIRST.isoformat())
    assert result.success
    assert "--from 2025-05-21" in told(result)["degraded"]
    assert failures(result) == ["feed_has_no_hole"]
    monkeypatch.delenv("DEFIYIELD_NEWS_MAX_PAGES")
    filled = update(made, checked=True, since="2025-05-20", through=FIRST.isoformat())
    assert "degraded" not in told(filled)
    assert failures(filled) == []


# --- nothing lost, nothing twice -----------------------------------------------------------------------------------
def test_a_run_that_dies_before_the_write_leaves_the_watermark_and_the_next_one_is_whole(
    blank: Installation, two_days: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = blank.copy_to(tmp_path / "died")
    update(made, through=FIRST.isoformat())
    before = contents(made)

    def die(*_: Any) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(assets, "made_of", die)
        assert not update(made, through=day_after(FIRST).isoformat()).success
    assert contents(made) == before
    asked = len(reads.read_all(made.engine, schema.raw_fetches, {"vendor": "cryptopanic"}))
    assert update(made, through=day_after(FIRST).isoformat()).success
    assert contents(made) == contents(two_days)
    again = len(reads.read_all(made.engine, schema.raw_fetches, {"vendor": "cryptopanic"}))
    assert again == asked, "pages that are archived are not paid for twice"


@pytest.mark.nightly
def test_a_run_that_dies_in_the_write_leaves_nothing_of_it(
    blank: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = blank.copy_to(tmp_path / "here")
    with monkeypatch.context() as patch:
        broken = pd.DataFrame({"article_id": ["x"], "instrument_id": [None], "date": [FIRST], "code": ["B"]})
        patch.setattr(news_reading, "link_rows", lambda *_: broken)
        assert not update(made, through=FIRST.isoformat()).success
    assert all(made.rows(table).empty for table in TABLES)
    assert update(made, through=FIRST.isoformat()).success


@pytest.mark.nightly
def test_a_code_that_becomes_an_instruments_is_linked_then(blank: Installation, tmp_path: Path) -> None:
    made = blank.copy_to(tmp_path / "here")
    writes.delete_where(made.engine, schema.instruments, {"symbol": "SOL"})
    update(made, through=FIRST.isoformat())
    assert "crypto:SOL" not in set(made.rows(schema.news_instrument_links)["instrument_id"])
    waiting = (made.rows(schema.news_articles)["n_unknown_codes"] > 0).sum()
    listed = build_instruments(load_policy(FIRST).policy.tokens, load_instruments().instruments)
    writes.upsert(made.engine, schema.instruments, listed)
    assert failures(update(made, checked=True, through=day_after(FIRST).isoformat())) == []
    links = made.rows(schema.news_instrument_links)
    older = links[(links["instrument_id"] == "crypto:SOL") & (links["known_at"] < end_of(FIRST))]
    assert len(older) > 5
    assert (made.rows(schema.news_articles)["n_unknown_codes"] > 0).sum() < waiting


def told_to(made: Installation, posts: Sequence[Post], when: datetime, until: datetime) -> None:
    """One reading of these posts, written as the asset writes it."""
    told_then = tuple(replace(one, told_at=when) for one in posts)
    reading = Reading(told_then, 1, is_complete=True, is_exhausted=False, first_told_at=when, last_told_at=when)
    spans = tuple(news_reading.spans_of(made.engine))
    asked = news_reading.Question(Feed(), when.date(), when, until, spans)
    news.keep(made.engine, lambda: news_reading.made_of(made.engine, reading, asked)[1])


def test_a_code_links_since_it_was_told_however_late_its_instrument_is_listed(
    blank: Installation, tmp_path: Path
) -> None:
    made = blank.copy_to(tmp_path / "here")
    told_to(made, [post("1", codes=("BTC",))], at(1), at(-24))
    told_to(made, [post("1", codes=("BTC", "NEWX"))], at(30), at(-5))
    listed = reads.read_all(made.engine, schema.instruments, {"instrument_id": BTC})
    writes.upsert(made.engine, schema.instruments, listed.assign(instrument_id="crypto:NEWX", symbol="NEWX"))
    told_to(made, [], at(60), at(24))
    links = made.rows(schema.news_instrument_links).set_index("code")["known_at"]
    assert links.to_dict() == {"BTC": at(0), "NEWX": at(30)}


def test_a_post_without_votes_that_changes_its_address_stays_with_its_article(
    blank: Installation, tmp_path: Path
) -> None:
    made = blank.copy_to(tmp_path / "here")
    told_to(made, [post("8", votes=None, addresses=("https://e.com/typo",))], at(1), at(-24))
    told_to(made, [post("8", votes=None, addresses=("https://e.com/right",))], at(2), at(-5))
    assert made.rows(schema.news_articles)["post_ids"].tolist() == ["8"]
    votes = made.rows(schema.news_votes)
    assert votes[list(schema.VOTES)].isna().all(axis=None)
    assert len(votes) == 1
    assert checks.votes_are_not_negative(made.warehouse).passed
    told_to(made, [post("8", addresses=("https://e.com/right",))], at(3), at(-5))
    assert [one.votes for one in news_reading.tellings_of(made.rows(schema.news_votes))] == [None, VOTES]


def test_a_feed_without_a_post_was_read_whole_and_leaves_no_hole(blank: Installation) -> None:
    spans = (Span(at(-48), at(-24)),)
    asked = news_reading.Question(Feed(("NOSUCHCOIN",)), NOON.date(), at(0), at(-30), spans)
    empty = Reading((), 1, is_complete=False, is_exhausted=True, first_told_at=at(0), last_told_at=at(0))
    assert news_reading.span_of(empty, asked) == Span(at(-30), at(0))
    assert news_reading.hole_behind(empty, asked) is None
    cut = replace(empty, is_exhausted=False)
    assert news_reading.hole_behind(cut, asked) == Span(at(-24), at(0))


def test_a_post_that_cannot_be_read_degrades_a_reading_and_names_itself() -> None:
    asked = news_reading.Question(Feed(), NOON.date(), at(0), at(-1), ())
    whole = Reading((), 1, is_complete=True, is_exhausted=False, first_told_at=at(0), last_told_at=at(0))
    assert list(assets._wanting(whole, asked)) == []
    odd = replace(whole, unreadable=("field 'title' of row 3: …",), n_odd_votes=2)
    first, second = assets._wanting(odd, asked)
    assert "1 posts cannot be read and are left out; the first: field 'title' of row 3" in first
    assert "votes on 2 posts" in second


# --- point in time -------------------------------------------------------------------------------------------------
def test_sentiment_of_an_hour_that_is_over_is_the_same_whatever_comes_later(
    blank: Installation, two_days: Installation, tmp_path: Path
) -> None:
    made = blank.copy_to(tmp_path / "first-day")
    update(made, through=FIRST.isoformat())
    before = made.rows(schema.news_sentiment)
    after = two_days.rows(schema.news_sentiment)
    both = before.merge(after, on=["instrument_id", "hour"], suffixes=("", "_after"))
    assert len(both) == len(before) > 500
    for name in ("n_articles", "n_window", "n_votes", "lexicon_score", "votes_score", "combined", "known_at"):
        pd.testing.assert_series_equal(both[name], both[f"{name}_after"], check_names=False)
    ends = before["hour"] + timedelta(hours=1)
    assert ends.max() <= end_of(FIRST)


@pytest.mark.nightly
def test_noise_in_all_later_news_changes_no_earlier_sentiment(two_days: Installation, tmp_path: Path) -> None:
    copy, cut = two_days.copy_to(tmp_path / "copy"), end_of(FIRST)
    before = reads.read_days(copy.engine, schema.news_sentiment, DayRange(date(2025, 5, 1), FIRST))
    articles, votes = copy.rows(schema.news_articles), copy.rows(schema.news_votes)
    later = articles[articles["known_at"] >= cut].assign(title="hack hack bankrupt ponzi")
    writes.upsert(copy.engine, schema.news_articles, later)
    told_later = votes[votes["told_at"] > cut + timedelta(hours=1)].assign(positive=10_000)
    writes.upsert(copy.engine, schema.news_votes, told_later)
    writes.delete_where(copy.engine, schema.news_sentiment, {"window_hours": 24.0})
    assert len(later) > 10
    assert len(told_later) > 10
    update(copy, through=day_after(FIRST).isoformat())
    after = reads.read_days(copy.engine, schema.news_sentiment, DayRange(date(2025, 5, 1), FIRST))
    pd.testing.assert_frame_equal(before, after)
    newest = copy.rows(schema.news_sentiment)
    assert (newest.loc[newest["hour"] >= cut, "lexicon_score"] < -0.9).any(), "the noise was read"


def test_news_before_a_time_are_those_published_and_known_by_then(two_days: Installation) -> None:
    articles = two_days.rows(schema.news_articles)
    links = two_days.rows(schema.news_instrument_links)
    of_btc = articles[articles["article_id"].isin(links.loc[links["instrument_id"] == BTC, "article_id"])]
    close = end_of(FIRST)
    found = read_news(two_days.engine, [BTC], close - timedelta(days=3), close + timedelta(hours=1))
    lines = found.recent(BTC, close, close + timedelta(hours=1), most=1_000)
    window = of_btc[(of_btc["published_at"] >= close - timedelta(hours=72)) & (of_btc["published_at"] < close)]
    known = window[window["known_at"] <= close + timedelta(hours=1)]
    assert sorted(line.title for line in lines) == sorted(known["title"])
    assert [line.published_at for line in lines] == sorted((line.published_at for line in lines), reverse=True)
    assert found.recent(BTC, close, most=3) == found.recent(BTC, close, close, most=100)[:3]
    assert found.recent("crypto:NONE", close) == []
    early = found.recent(BTC, close - timedelta(days=2), most=1_000)
    assert all(line.published_at < close - timedelta(days=2) for line in early)
    assert any(line.sentiment is not None for line in lines)
    empty = read_news(two_days.engine, [], close, close)
    assert empty.recent(BTC, close) == []


def test_sentiment_says_what_titles_and_votes_say(two_days: Installation) -> None:
    rows = two_days.rows(schema.news_sentiment)
    scored = rows.dropna(subset=["lexicon_score", "votes_score"])
    assert len(scored) > 20
    expected = 0.6 * scored["lexicon_score"] + 0.4 * scored["votes_score"]
    np.testing.assert_allclose(scored["combined"], expected)
    counted = rows.groupby("instrument_id")["n_articles"].sum()
    links = two_days.rows(schema.news_instrument_links)
    inside = links[(links["known_at"] < end_of(day_after(FIRST)))]
    spans = two_days.rows(schema.news_coverage)["read_from"].iloc[0].ceil("h")
    inside = inside[inside["known_at"] >= spans]
    assert counted.to_dict() == inside.groupby("instrument_id").size().to_dict()


@pytest.mark.nightly
def test_another_lexicon_measures_every_hour_anew(two_days: Installation, tmp_path: Path) -> None:
    copy = two_days.copy_to(tmp_path / "copy")
    before = copy.rows(schema.news_sentiment).set_index(["instrument_id", "hour"])
    own = tmp_path / "config"
    own.mkdir()
    words = "words:\n  '-2': [surges, record]\n  '2': [hack, plunges]\n"
    (own / "news_lexicon.yaml").write_text(words, encoding="utf-8")
    made = replace(copy, overrides={**copy.overrides, "policy": PolicyResource(config_dir=str(own))})
    policy = PolicyResource(config_dir=str(own))
    assert not checks.every_hour_with_news_has_its_row(copy.warehouse, policy).passed
    assert update(made, checked=True, through=day_after(FIRST).isoformat()).success
    after = copy.rows(schema.news_sentiment).set_index(["instrument_id", "hour"])
    assert len(set(after["ruler"])) == 1
    assert not set(after["ruler"]) & set(before["ruler"])
    assert checks.every_hour_with_news_has_its_row(copy.warehouse, policy).passed


# --- without a key, and when the vendor fails ----------------------------------------------------------------------
def test_without_a_key_nothing_is_asked_and_the_variable_is_named(two_days: Installation, tmp_path: Path) -> None:
    copy = two_days.copy_to(tmp_path / "copy")
    before = contents(copy)
    market = resources_of(copy)["market"]

    class Keyless(type(market)):  # type: ignore[misc]
        def has_key(self, vendor: str) -> bool:
            return False

    keyless = Keyless(**{name: getattr(market, name) for name in type(market).model_fields})
    result = update(Installation(copy.folder, overrides={"market": keyless}))
    assert result.success
    facts = told(result)
    assert "DEFIYIELD_CRYPTOPANIC_API_KEY" in facts["degraded"]
    assert facts["degraded_by"] == "NotConfigured"
    assert contents(copy) == before
    assert "degraded" not in told(result, "news_votes")


@pytest.mark.nightly
def test_the_recorded_market_has_no_news_and_says_so(blank: Installation, tmp_path: Path) -> None:
    copy = blank.copy_to(tmp_path / "here")
    recorded = MarketResource(market="recorded", chain_path=str(tmp_path / "chain.sqlite"), seed=7)
    result = update(Installation(copy.folder, overrides={"market": recorded}))
    assert result.success
    assert told(result)["degraded"].startswith("the recorded market has nothing of cryptopanic")


def test_a_market_without_a_day_has_no_present(blank: Installation, tmp_path: Path) -> None:
    result = update(blank.copy_to(tmp_path / "here"))
    assert result.success
    assert "no day of the simulated market has run yet" in told(result)["degraded"]


@pytest.mark.parametrize(
    ("config", "words"), [({"since": "junk"}, "a date is written"), ({"since": "2025-07-01"}, "not there yet")]
)
def test_a_wrong_day_is_one_clear_error(
    blank: Installation, tmp_path: Path, config: dict[str, str], words: str
) -> None:
    made = blank.copy_to(tmp_path / "here")
    result = update(made, through=FIRST.isoformat(), **config)
    assert not result.success
    assert words in str(result.failure_data_for_node("news_tables"))
    assert made.rows(schema.news_articles).empty


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedMarket]:
    """The simulated vendors behind a real socket, and an environment that asks them."""
    folder = tmp_path_factory.mktemp("served")
    variables = {"DEFIYIELD_NEWS_FIRST_DAYS": "1"}
    with (
        serving(generated_market(folder, 5)) as market,
        environment({**market.variables(), **variables}),
        hurried(attempts=2),
    ):
        yield market


KINDS: dict[FaultKind, str | None] = {
    FaultKind.THROTTLED: "VendorThrottled",
    FaultKind.SERVER_ERROR: "VendorUnavailable",
    FaultKind.RESET: "VendorUnavailable",
    FaultKind.TRUNCATED: "VendorMalformed",
    FaultKind.WRONG_CONTENT_TYPE: "VendorMalformed",
    FaultKind.EMPTY: "VendorMalformed",
    FaultKind.MALFORMED_JSON: "VendorMalformed",
    FaultKind.MISSING_FIELD: "VendorMalformed",
    FaultKind.RETYPED_FIELD: "VendorMalformed",
    FaultKind.CLOCK_SKEW: "VendorMalformed",
    FaultKind.ERROR_IN_200: "VendorThrottled",
    FaultKind.UNAUTHORISED: "VendorAuthError",
    FaultKind.NOT_FOUND: "VendorNotFound",
    FaultKind.PLAN_LIMIT: "VendorPlanLimit",
    FaultKind.DUPLICATE_ROWS: None,
    FaultKind.NEW_FIELD: None,
}


@pytest.mark.nightly
def test_each_fault_that_stays_is_its_error_and_changes_nothing_and_healed_all_is_whole(
    served: ServedMarket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets.RETRY_INGESTION.__class__, "calculate_delay", lambda *_: 0.0)
    monkeypatch.setattr(news_reading, "REUSED", timedelta(0))
    undisturbed = with_instruments(live_installation(tmp_path / "undisturbed"))
    assert failures(update(undisturbed, checked=True)) == []
    whole = contents(undisturbed)
    assert len(undisturbed.rows(schema.news_articles)) > 15
    made = with_instruments(live_installation(tmp_path / "faulty"))
    for kind, wanted in KINDS.items():
        served.faults(FaultRule.model_validate({"kind": kind, "host": "cryptopanic.com", "path": "*"}))
        result = update(made)
        if wanted is None:
            assert result.success, kind
            assert {**contents(made), "news_votes": ""} == {**whole, "news_votes": ""}, kind
            made = with_instruments(live_installation(tmp_path / f"after-{kind}"))
            continue
        assert not result.success, kind
        fetches = reads.read_all(made.engine, schema.raw_fetches, {"vendor": "cryptopanic"})
        assert fetches["error_class"].iloc[-1] == wanted, kind
        assert all(made.rows(table).empty for table in TABLES), kind
    served.faults()
    assert update(made).success
    assert contents(made) == whole


@pytest.mark.nightly
def test_no_trace_of_the_token_is_left(served: ServedMarket, tmp_path: Path) -> None:
    served.faults()
    made = with_instruments(live_installation(tmp_path / "token"))
    assert update(made).success
    kept = b"".join(path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
    assert SECRETS["cryptopanic"].encode() not in kept
    assert b"secret-of" not in kept
    assert served.server.requests.total("cryptopanic.com") > 0


def test_the_schedule_asks_every_hour_and_is_shipped_running() -> None:
    assert hourly_news_schedule in SCHEDULES
    assert hourly_news_schedule.cron_schedule == "5 * * * *"
    assert hourly_news_schedule.default_status is dg.DefaultScheduleStatus.RUNNING
    at = datetime(2025, 6, 3, 14, 5, tzinfo=UTC)
    context = dg.build_schedule_context(scheduled_execution_time=at)
    (request,) = hourly_news_schedule.evaluate_tick(context).run_requests or []
    assert request.run_key == "news-2025-06-03T14"
    assert hourly_news_schedule.job_name == update_news.name


# --- checks that fail ----------------------------------------------------------------------------------------------
def test_checks_see_what_they_are_there_for(two_days: Installation, tmp_path: Path) -> None:
    copy = two_days.copy_to(tmp_path / "copy")
    warehouse, policy = copy.warehouse, resources_of(copy)["policy"]
    article = copy.rows(schema.news_articles).tail(1)
    writes.upsert(copy.engine, schema.news_articles, article.assign(known_at=article["published_at"] - timedelta(1)))
    assert not checks.published_before_told(warehouse).passed
    link = copy.rows(schema.news_instrument_links).tail(1)
    writes.upsert(copy.engine, schema.news_instrument_links, link.assign(instrument_id="crypto:GONE"))
    told_of = checks.links_are_known(warehouse)
    assert (told_of.passed, told_of.metadata["unknown_instruments"].value) == (False, 1)
    votes = copy.rows(schema.news_votes).tail(1)
    writes.upsert(copy.engine, schema.news_votes, votes.assign(article_id="gone"))
    assert not checks.votes_are_not_negative(warehouse).passed
    hours = copy.rows(schema.news_sentiment)
    gone = hours.loc[hours["instrument_id"] == BTC, "hour"].iloc[5]
    writes.delete_where(copy.engine, schema.news_sentiment, {"hour": gone.to_pydatetime(), "instrument_id": BTC})
    assert not checks.every_hour_with_news_has_its_row(warehouse, policy).passed
    last = hours.tail(1)
    writes.upsert(copy.engine, schema.news_sentiment, last.assign(known_at=last["known_at"] + timedelta(hours=3)))
    assert not checks.hours_rest_on_the_past(warehouse).passed
