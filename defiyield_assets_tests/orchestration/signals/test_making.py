"""Signals of the stub and of news, what is missing, rows that break a rule, kinds of signals."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.config.models import load_models
from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.signals.prompts import messages_of
from defiyield_assets.domain.signals.rules import row_problems
from defiyield_assets.domain.strategies.external import COLUMNS
from defiyield_assets.orchestration.checks.signals import mixed_up
from defiyield_assets.orchestration.lab.signals import stored_signals
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.orchestration.signal_inputs import asked_instruments, read_questions
from defiyield_assets.store import reads, schema, writes
from defiyield_assets_tests.ollama_host import DIGEST
from defiyield_assets_tests.orchestration.signals.desk import (
    DAYS,
    EVER,
    FRIDAY,
    LAST,
    SATURDAY,
    SHARE,
    Desk,
    add_news,
    add_sentiment,
    bars,
    features,
    told_of,
)


def test_the_stub_says_the_same_in_every_run_and_its_name_is_everywhere(desk: Desk) -> None:
    first = desk.make()
    made = desk.prints()
    desk.make()
    assert desk.prints() == made
    rows = desk.signals()
    assert set(rows["signal_type"]) == {"ai:stub"}
    assert set(rows["model"]) == {"stub"}
    assert rows["model_digest"].str.startswith("stub:").all()
    assert mixed_up(rows) == []
    assert rows["answered_at"].isna().all()
    by_name = {str(name): set(own["signal"]) for name, own in rows.groupby("instrument_id")}
    assert by_name == {"crypto:BTC": {"BUY"}, "crypto:ETH": {"SELL"}, SHARE: {"HOLD"}}
    assert told_of(first)["n_ok"] == len(rows) == 2 * len(DAYS) + 6


@pytest.mark.slow
def test_a_range_and_its_days_one_by_one_are_the_same_signals(desk: Desk) -> None:
    desk.make()
    whole = desk.prints()
    for table in (schema.trading_signals, schema.ai_signals):
        writes.replace_slice(desk.engine, table, pd.DataFrame(columns=table.columns.keys()), EVER)
    for day in DAYS:
        desk.make(days=DayRange.of(day))
    assert desk.prints() == whole


@pytest.mark.slow
def test_one_can_act_when_the_bar_has_closed_and_exchanges_close_before_the_day(desk: Desk) -> None:
    desk.make()
    rows = desk.trading()
    assert row_problems(rows) == {"levels": [], "status": [], "time": []}
    coin = rows[(rows["instrument_id"] == "crypto:BTC") & (rows["date"] == FRIDAY)].iloc[0]
    share = rows[(rows["instrument_id"] == SHARE) & (rows["date"] == FRIDAY)].iloc[0]
    assert coin["decided_at"] == coin["actionable_from"] == end_of(FRIDAY)
    assert share["decided_at"] == datetime(2025, 5, 30, 20, tzinfo=UTC)
    assert share["actionable_from"] == end_of(FRIDAY)
    assert rows[(rows["instrument_id"] == SHARE) & (rows["date"] == SATURDAY)].empty


@pytest.mark.slow
def test_later_bars_features_and_news_change_no_signal(desk: Desk) -> None:
    early = DayRange(DAYS.start, FRIDAY)
    desk.make(days=early)
    made = desk.prints()
    later, known = bars(), features()
    is_later = later["date"] > FRIDAY
    later.loc[is_later, ["open", "high", "low", "close"]] *= 7.0
    later["adj_factor"] *= 0.25  # a split after the last day restates every factor
    known.loc[known["date"] > FRIDAY, "rsi_14"] = 1.0
    try:
        writes.replace_slice(desk.engine, schema.daily_bars, later, EVER)
        writes.replace_slice(desk.engine, schema.daily_features, known, EVER)
        add_news(desk.engine, "later", end_of(FRIDAY))
        desk.make(days=early)
        assert desk.prints() == made
        desk.make()
        assert desk.prints() != made
    finally:
        writes.replace_slice(desk.engine, schema.daily_bars, bars(), EVER)
        writes.replace_slice(desk.engine, schema.daily_features, features(), EVER)


# --- rows and kinds ------------------------------------------------------------------------------------------------
@pytest.mark.slow
def test_rows_that_mix_up_who_spoke_are_found(desk: Desk) -> None:
    desk.make(days=DayRange.of(LAST))
    rows = desk.signals()
    for column, value in (("model", "llama3.1"), ("model_digest", DIGEST), ("signal_type", "ai:llama3.1")):
        wrong = rows.copy()
        wrong[column] = value
        assert len(mixed_up(wrong)) == len(rows), column


@pytest.mark.slow
def test_rows_that_break_a_rule_are_found(desk: Desk) -> None:
    desk.make(days=DayRange.of(LAST), instruments=["BTC"])
    rows = desk.trading()
    for column, value, rule in (
        ("stop_loss_price", 1e9, "levels"),
        ("target_price", np.nan, "levels"),
        ("signal", "SELL", "levels"),
        ("status", "parse_failed", "status"),
        ("actionable_from", pd.Timestamp(end_of(LAST)) - pd.Timedelta(seconds=1), "time"),
    ):
        wrong = rows.copy()
        wrong[column] = value
        assert row_problems(wrong)[rule], column


@pytest.mark.slow
def test_a_type_that_there_is_not_cannot_be_stored(desk: Desk) -> None:
    desk.make(days=DayRange.of(LAST), instruments=["BTC"])
    strange = desk.trading().assign(signal_type="ai:nobody")
    with pytest.raises(Exception, match=r"(?i)foreign key"):
        writes.upsert(desk.engine, schema.trading_signals, strange)


@pytest.mark.slow
def test_a_type_that_is_no_longer_listed_stays_for_the_signals_that_name_it(desk: Desk, tmp_path: Path) -> None:
    listed = "universes: [crypto_liquid]\nmodels:\n  - {name: other, training_cutoff: 2024-01-01}\n"
    (tmp_path / "models.yaml").write_text(listed, encoding="utf-8")
    desk.make(days=DayRange.of(LAST), instruments=["BTC"])
    own = Desk.__new__(Desk)
    overrides = {**desk.installation.overrides, "policy": PolicyResource(config_dir=str(tmp_path))}
    own.installation, own.engine = replace(desk.installation, overrides=overrides), desk.engine
    own.make(days=DayRange.of(LAST), instruments=["BTC"])
    types = reads.read_all(desk.engine, schema.signal_types).set_index("signal_type")["is_configured"]
    assert types.astype(bool).to_dict() == {
        **{"ai:gemma3:1b": False, "ai:llama3": False, "ai:llama3.1": False},
        **{"ai:other": True, "ai:stub": True, "news:sentiment": True},
    }
    desk.make(days=DayRange.of(LAST), instruments=["BTC"])
    with desk.engine.begin() as connection:
        connection.execute(sa.delete(schema.signal_types).where(schema.signal_types.c.signal_type == "ai:other"))


# --- news ----------------------------------------------------------------------------------------------------------
def test_news_is_a_signal_as_known_at_the_close_and_not_later(desk: Desk) -> None:
    close = end_of(LAST)
    add_sentiment(desk.engine, close - timedelta(hours=3), 0.6)
    add_sentiment(desk.engine, close - timedelta(hours=2), -0.6, known_at=close + timedelta(minutes=5))
    add_sentiment(desk.engine, close, -0.9)
    add_sentiment(desk.engine, end_of(FRIDAY) - timedelta(hours=9), 0.9)
    desk.make()
    (row,) = desk.trading(signal_type="news:sentiment").to_dict("records")
    assert (row["date"], row["signal"], row["confidence"]) == (LAST, "BUY", 0.6)
    assert np.isnan(row["stop_loss_price"])
    told = stored_signals(desk.engine, DAYS, ["news:sentiment"])
    assert told.columns.tolist() == list(COLUMNS)
    assert told["training_cutoff"].isna().all()


# --- what is missing -----------------------------------------------------------------------------------------------
def test_a_late_bar_and_a_bar_without_features_are_told_and_nobody_is_asked_about_them(desk: Desk) -> None:
    later, known = bars(), features()
    is_late = (later["date"] == LAST) & (later["instrument_id"] == "crypto:ETH")
    is_bare = (known["date"] == LAST) & (known["instrument_id"] == "crypto:BTC")
    try:
        writes.replace_slice(desk.engine, schema.daily_bars, later[~is_late].reset_index(drop=True), EVER)
        writes.replace_slice(desk.engine, schema.daily_features, known[~is_bare].reset_index(drop=True), EVER)
        facts = told_of(desk.make(days=DayRange.of(LAST)))
        assert (facts["n_without_bar"], facts["n_without_features"]) == (1, 1)
        assert "1 bars are not there, such as crypto:ETH 2025-06-03" in facts["degraded"]
        assert "1 features are not there, such as crypto:BTC 2025-06-03" in facts["degraded"]
        assert desk.signals()["instrument_id"].tolist() == [SHARE]
    finally:
        writes.replace_slice(desk.engine, schema.daily_bars, bars(), EVER)
        writes.replace_slice(desk.engine, schema.daily_features, features(), EVER)


def test_news_that_nobody_read_are_unknown_and_not_none(desk: Desk) -> None:
    models, close = load_models(), end_of(LAST)
    asked = asked_instruments(desk.engine, models, ["BTC"])

    def news() -> Any:
        questions = read_questions(desk.engine, DayRange.of(LAST), models, asked)
        (question,) = questions.asked
        unread.append(questions.unread_news)
        return json.loads(messages_of(question)[1]["content"])["news"]

    unread: list[tuple[str, ...]] = []
    assert news() is None
    row = {"feed": "f", "read_from": close - timedelta(hours=72), "read_through": close, "told_at": close}
    try:
        writes.upsert(desk.engine, schema.news_coverage, pd.DataFrame([row]))
        assert news() == []
        part = pd.DataFrame([{**row, "read_through": close - timedelta(hours=1)}])
        writes.upsert(desk.engine, schema.news_coverage, part)
        assert news() is None
        assert unread == [("crypto:BTC 2025-06-03",), (), ("crypto:BTC 2025-06-03",)]
    finally:
        writes.delete_where(desk.engine, schema.news_coverage, {"feed": "f"})
