"""Paper trading through Dagster over a small warehouse: days and ranges, reruns, equality, checks, late bars, splits.

Not here: the rules (domain/paper), the command line.
"""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.config.strategy_files import load_strategies
from defiyield_assets.definitions import build_defs
from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.paper import portfolios
from defiyield_assets.domain.paper.book_codec import Restatement, restatements_in, restatements_text
from defiyield_assets.domain.paper.equality import first_difference
from defiyield_assets.domain.strategies.runs import TRADE_COLUMNS, plan, simulate, terms_of, trade_table
from defiyield_assets.orchestration.checks.paper import (
    found,
    frozen,
    misplaced,
    out_of_balance,
    paid_before,
    undecided,
    units_apart,
)
from defiyield_assets.orchestration.jobs import paper_trade, set_up_desk, trade_day, update_desk
from defiyield_assets.orchestration.lab.bars import decided_days, scored_bars
from defiyield_assets.orchestration.lab.sensor import RANGE_END, RANGE_START
from defiyield_assets.orchestration.lab.signals import signals_for
from defiyield_assets.orchestration.paper.books import TABLES
from defiyield_assets.orchestration.paper.inputs import instruments_at, read_inputs
from defiyield_assets.orchestration.paper.sensor import PAPER_SENSORS, days_to_trade, newly_made
from defiyield_assets.orchestration.paper.statements import beside_backtest, statement
from defiyield_assets.orchestration.paper.wishes import Terms, wish_of
from defiyield_assets.orchestration.resources import PolicyResource
from defiyield_assets.store import schema, writes
from defiyield_assets_tests.installations import SILENT, Installation
from defiyield_assets_tests.orchestration.small_lab import LAST, fill

START = LAST - timedelta(days=30)
RULES = {"strategy": "turtle", "starts_on": START.isoformat(), "capital": 50_000.0}
WEIGHTS = {"strategy": "momentum", "starts_on": START.isoformat()}
SHARES = {"strategy": "sixty_forty", "starts_on": START.isoformat()}


class Desk:
    """A small installation in which portfolios are traded."""

    def __init__(self, folder: Path, portfolios: str | None = None) -> None:
        self.installation = Installation(folder)
        self.installation.warehouse.migrate()
        self.engine, self.config = self.installation.engine, None
        fill(self.engine)
        if portfolios is not None:
            self.config = folder / "config"
            self.config.mkdir()
            (self.config / "paper.yaml").write_text(portfolios, encoding="utf-8")

    @property
    def definitions(self) -> dg.Definitions:
        """Everything, by the configuration of this desk."""
        settings = self.installation.settings.model_copy(update={"config_dir": self.config})
        return build_defs(settings, warehouse=self.installation.warehouse)

    def trade(self, first: date, last: date, *others: dict[str, Any], **config: Any) -> dg.ExecuteInProcessResult:
        """Trade over some days in one run."""
        tags = {
            "dagster/asset_partition_range_start": first.isoformat(),
            "dagster/asset_partition_range_end": last.isoformat(),
        }
        told = {"others": list(others), **config}
        with dg.DagsterInstance.ephemeral() as instance:
            return self.definitions.resolve_job_def(paper_trade.name).execute_in_process(
                instance=instance,
                run_config={**SILENT, "ops": {"paper_books": {"config": told}}},
                raise_on_error=False,
                tags=tags,
            )

    def prints(self) -> dict[str, str]:
        """Content of the paper tables."""
        return {table.name: self.installation.fingerprint(table) for table in TABLES}

    def trades(self, portfolio_id: str) -> pd.DataFrame:
        """Round trips of a portfolio as a backtest tells them."""
        rows = self.installation.rows(schema.paper_trades)
        own = rows[rows["portfolio_id"] == portfolio_id].sort_values("number", ignore_index=True)
        return own[list(TRADE_COLUMNS)]

    def backtest(self, terms: dict[str, Any], last: date) -> tuple[pd.DataFrame, float]:
        """Closed round trips and last equity of the backtest of `defiyield backtest` over the same bars."""
        wish = wish_of(Terms(**terms), load_strategies())
        assert wish.starts_on is not None
        history = scored_bars(self.engine, wish.strategy, DayRange(wish.starts_on, last), wish.universe)
        made = plan(wish.strategy, history)
        ran = simulate(made, history, terms_of(made, history, wish.costs, wish.account))
        told = trade_table(ran.trades, history.instruments)
        return told[told["exit_reason"] != "end"].reset_index(drop=True), ran.last_state.equity


def act(engine: sa.Engine, name: str, day: date, kind: str, value: float) -> None:
    """Tell a split or dividend."""
    row = {"instrument_id": name, "ex_date": day, "kind": kind, "value": value, "source": "test"}
    with engine.begin() as connection:
        told = datetime.combine(day, time(), UTC)
        connection.execute(sa.insert(schema.corporate_actions).values(**row, fetched_at=told))


def store_signals(engine: sa.Engine, kind: str, said: list[tuple[str, date]]) -> None:
    """BUY of some instruments on some days, as if a model had said so."""
    nothing = {"TEXT": "x", "BOOLEAN": False, "DATE": date(2020, 1, 1), "FLOAT": 0.0, "INTEGER": 0}

    def row(table: sa.Table, **told: Any) -> dict[str, Any]:
        needed = [one for one in table.columns if not one.nullable and one.name not in told]
        return {**{one.name: nothing.get(str(one.type), datetime(2020, 1, 1, tzinfo=UTC)) for one in needed}, **told}

    with engine.begin() as connection:
        types, signals = schema.signal_types, schema.trading_signals
        connection.execute(sa.insert(types).values(**row(types, signal_type=kind, kind="ai")))
        for name, day in said:
            at = datetime.combine(day + timedelta(days=1), time(), UTC)
            told = {"instrument_id": name, "date": day, "signal_type": kind, "decided_at": at, "actionable_from": at}
            told |= {"status": "ok", "signal": "BUY", "confidence": 0.9}
            connection.execute(sa.insert(signals).values(**row(signals, **told)))


def id_of(terms: dict[str, Any]) -> str:
    """The id that a portfolio's terms make."""
    return wish_of(Terms(**terms), load_strategies()).portfolio_id


def failure(result: dg.ExecuteInProcessResult) -> str:
    """What the run failed with."""
    events = [event for event in result.all_events if event.is_step_failure]
    return str(events[0].event_specific_data) if events else ""


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, dg.ExecuteInProcessResult]:
    """A desk whose portfolios were traded over a range in one run."""
    desk = Desk(tmp_path_factory.mktemp("paper"))
    return desk, desk.trade(START, LAST, RULES, WEIGHTS, SHARES)


def test_a_range_gives_the_trades_of_the_backtest_over_the_same_bars(
    traded: tuple[Desk, dg.ExecuteInProcessResult],
) -> None:
    desk, result = traded
    assert result.success
    n_trades = 0
    for terms in (RULES, WEIGHTS, SHARES):
        told, equity = desk.backtest(terms, LAST)
        assert first_difference(desk.trades(id_of(terms)), told) is None
        rows = desk.installation.rows(schema.paper_portfolio, LAST)
        (row,) = rows[rows["portfolio_id"] == id_of(terms)].to_dict("records")
        assert row["engine_equity"] == equity
        assert abs(float(row["equity"]) - equity) < 1e-6
        n_trades += len(told)
    assert n_trades > 3


def test_all_checks_hold_and_block(traded: tuple[Desk, dg.ExecuteInProcessResult]) -> None:
    desk, result = traded
    checked = {one.check_name: one.passed for one in result.get_asset_check_evaluations()}
    names = {"balances_reconcile", "no_order_without_a_decision", "stops_lie_behind_the_price"}
    names |= {"units_follow_from_orders"}
    warnings = {"held_instruments_have_bars", "configured_portfolios_are_traded"}
    assert checked == dict.fromkeys(names | warnings, True)
    graph = desk.installation.definitions.resolve_asset_graph()
    assert all(graph.get(key).blocking for key in graph.asset_check_keys if key.name in names)


@pytest.mark.nightly
def test_days_one_by_one_give_the_rows_of_the_range(
    traded: tuple[Desk, dg.ExecuteInProcessResult], tmp_path: Path
) -> None:
    desk = Desk(tmp_path)
    for first, last in ((0, 0), (1, 1), (2, 9), (10, 10), (11, 30)):
        assert desk.trade(START + timedelta(days=first), START + timedelta(days=last), RULES, WEIGHTS, SHARES).success
    assert desk.prints() == traded[0].prints()


@pytest.mark.nightly
def test_a_rerun_of_any_day_changes_nothing(traded: tuple[Desk, dg.ExecuteInProcessResult]) -> None:
    desk, _ = traded
    before = desk.prints()
    for first, last in ((START, START), (START + timedelta(days=7), START + timedelta(days=9)), (LAST, LAST)):
        assert desk.trade(first, last, RULES, WEIGHTS, SHARES).success
    assert desk.prints() == before


def test_a_gap_and_another_past_are_refused_in_words(traded: tuple[Desk, dg.ExecuteInProcessResult]) -> None:
    desk, _ = traded
    before = desk.prints()
    after = LAST + timedelta(days=3)
    assert f"was traded through {LAST}, and not on" in failure(desk.trade(after, after, RULES))
    told = failure(desk.trade(LAST, LAST, {**RULES, "capital": 1_000.0}))
    assert f"(or `--select group:paper`), in a run whose first day is {START}" in told
    assert "did you mean 'turtle'" in failure(desk.trade(LAST, LAST, {**RULES, "strategy": "turtel"}))
    assert "no portfolio 'nobody'" in failure(desk.trade(LAST, LAST, portfolios=["nobody"]))
    assert "no instrument belongs to the universe" in failure(
        desk.trade(START, START, {**RULES, "universe": "nowhere"})
    )
    assert desk.prints() == before


@pytest.mark.nightly
def test_what_is_stored_otherwise_is_refused_and_with_restate_replaces_and_deletes_later_days(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.trade(START, LAST, RULES).success
    before = desk.prints()
    day = LAST - timedelta(days=10)
    with desk.engine.begin() as connection:
        bars = schema.daily_bars
        where = (bars.c.date == day) & (bars.c.instrument_id == "crypto:BTC")
        connection.execute(sa.update(bars).where(where).values(close=bars.c.low, open=bars.c.low, high=bars.c.low))
    told = failure(desk.trade(day, day, RULES))
    assert f"comes out differently on {day} than it is stored (paper_portfolio" in told
    assert "restate" in told
    assert desk.trade(day, day, RULES, restate=True).success
    rows = desk.installation.rows(schema.paper_portfolio)
    assert rows["date"].max() == day, "later days rested on what is no more"
    assert desk.trade(day + timedelta(days=1), LAST, RULES).success
    assert desk.prints() != before
    told_trades, _ = desk.backtest(RULES, LAST)
    assert first_difference(desk.trades(id_of(RULES)), told_trades) is None


@pytest.mark.nightly
def test_the_newest_day_takes_bars_that_come_in_parts(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    bars = desk.installation.rows(schema.daily_bars, LAST)
    late = bars[bars["instrument_id"] == "equity:AAPL"]
    where = {"instrument_id": "equity:AAPL"}
    writes.replace_slice(desk.engine, schema.daily_bars, late[:0], DayRange.of(LAST), where)
    assert desk.trade(START, LAST, SHARES).success
    first = desk.prints()
    writes.replace_slice(desk.engine, schema.daily_bars, late, DayRange.of(LAST), where)
    assert desk.trade(LAST, LAST, SHARES).success
    assert desk.prints() != first
    assert desk.trade(LAST, LAST, SHARES).success


@pytest.mark.nightly
def test_a_portfolio_of_the_file_begins_on_its_first_day_and_keeps_its_terms(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert desk.trade(LAST - timedelta(days=3), LAST).success
    rows = desk.installation.rows(schema.paper_portfolio)
    assert set(rows["portfolio_id"]) == {"sma_cross", "buy_and_hold"}
    assert set(rows["starts_on"]) == {LAST - timedelta(days=3)}
    with desk.engine.begin() as connection:
        connection.execute(sa.update(schema.paper_portfolio).values(terms_json="{}"))
    assert "was begun with another terms" in failure(desk.trade(LAST, LAST, portfolios=["sma_cross"]))


@pytest.mark.nightly
def test_a_universe_without_bars_waits_and_says_so(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    with desk.engine.begin() as connection:
        connection.execute(sa.delete(schema.daily_bars).where(schema.daily_bars.c.instrument_type != "crypto"))
    result = desk.trade(LAST, LAST, {**SHARES, "starts_on": LAST.isoformat()})
    assert result.success
    (event,) = [one for one in result.get_asset_materialization_events() if "paper_portfolio" in str(one.asset_key)]
    assert "has a bar up to" in str(event.materialization.metadata["not_begun"].value)


@pytest.mark.nightly
def test_a_split_and_a_dividend_change_units_and_prices_and_no_worth(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    at = START + timedelta(days=20)
    while at.weekday() != 1:
        at += timedelta(days=1)
    assert desk.trade(START, at - timedelta(days=1), SHARES).success
    bars = schema.daily_bars
    with desk.engine.begin() as connection:  # 4 for 1 on `at`: older bars are restated, newer ones quoted so
        own = bars.c.instrument_id == "equity:AAPL"
        connection.execute(sa.update(bars).where(own & (bars.c.date < at)).values(adj_factor=0.25))
        connection.execute(sa.update(bars).where(own & (bars.c.date >= at)).values(close=bars.c.close / 4))
    assert "corporate_actions has no split or dividend behind that day" in failure(desk.trade(at, LAST, SHARES))
    act(desk.engine, "equity:AAPL", at, "split", 4.0)
    result = desk.trade(at, LAST, SHARES)
    assert result.success
    assert all(one.passed for one in result.get_asset_check_evaluations())
    rows = desk.installation.rows(schema.paper_portfolio).sort_values("date")
    (told,) = [text for text in rows["restated_json"] if text != "[]"]
    assert [(one.instrument_id, one.units_times) for one in restatements_in(told)] == [("equity:AAPL", Decimal(4))]
    assert len(statement(desk.engine, id_of(SHARES)).restated) == 1
    units = {
        row["date"]: float(json.loads(row["balances_json"]).get("equity:AAPL", 0)) for row in rows.to_dict("records")
    }
    assert units[at] == pytest.approx(4 * units[at - timedelta(days=1)], rel=1e-12)
    _, equity = desk.backtest(SHARES, LAST)
    assert rows["engine_equity"].iloc[-1] == pytest.approx(equity, rel=1e-12)
    steps = rows["engine_equity"].to_numpy(dtype=float)
    assert np.abs(np.diff(steps) / steps[:-1]).max() < 0.1, "a split is no loss"


@pytest.mark.nightly
def test_trades_are_those_of_the_backtest_behind_dividends_too(tmp_path: Path) -> None:
    """Round trips that were closed before an ex-date are stored in older prices than the backtest has."""
    desk = Desk(tmp_path)
    begin, at = START - timedelta(days=250), LAST - timedelta(days=LAST.weekday() + 6)
    terms = {"strategy": "rsi_mean_reversion", "starts_on": begin.isoformat(), "universe": "us_equities"}
    assert desk.trade(begin, at - timedelta(days=1), terms).success
    before = beside_backtest(desk.engine, statement(desk.engine, id_of(terms)), load_strategies().values())
    assert (before.is_equal, before.tolerance) == (True, 0.0)
    bars, names = schema.daily_bars, ["equity:AAPL", "equity:MSFT", "etf:SPY"]
    with desk.engine.begin() as connection:
        own = bars.c.instrument_id.in_(names) & (bars.c.date < at)
        connection.execute(sa.update(bars).where(own).values(adj_factor=0.995))
    for name in names:
        act(desk.engine, name, at, "dividend", 0.5)
    for _ in range(2):  # with the newest row of before the ex-date, and with one behind it
        told = statement(desk.engine, id_of(terms))
        beside = beside_backtest(desk.engine, told, load_strategies().values())
        assert beside.is_equal, beside
        assert beside.tolerance > 0
        assert len(told.trades) > 5
        assert desk.trade(at, LAST, terms).success
    wrong = told.trades.assign(quantity=told.trades["quantity"] * (1 + 1e-6))
    assert not beside_backtest(desk.engine, replace(told, trades=wrong), load_strategies().values()).is_equal


@pytest.mark.nightly
def test_what_leaves_its_universe_is_traded_on_by_its_bars_and_what_is_gone_is_told(tmp_path: Path) -> None:
    desk, middle = Desk(tmp_path), START + timedelta(days=10)
    terms = {"strategy": "buy_and_hold", "starts_on": START.isoformat()}
    expected = desk.backtest(terms, LAST)[1]
    assert desk.trade(START, middle, terms).success
    listed = schema.instruments
    with desk.engine.begin() as connection:
        own = listed.c.instrument_id == "crypto:BTC"
        connection.execute(sa.update(listed).where(own).values(universe="other"))
    assert desk.trade(middle + timedelta(days=1), LAST - timedelta(days=1), terms).success
    with desk.engine.begin() as connection:
        connection.execute(sa.update(listed).where(listed.c.universe == "crypto_liquid").values(universe="other"))
    assert desk.trade(LAST, LAST, terms).success
    assert desk.installation.rows(schema.paper_portfolio, LAST)["engine_equity"].iloc[0] == expected
    with desk.engine.begin() as connection:
        connection.execute(sa.delete(listed).where(listed.c.instrument_id == "crypto:BTC"))
    assert "trades crypto:BTC, which instruments does not hold any more" in failure(desk.trade(LAST, LAST, terms))


@pytest.mark.nightly
def test_a_portfolio_that_cannot_be_traded_stops_no_other_and_new_ones_begin_on_their_own_day(tmp_path: Path) -> None:
    begin, before = LAST - timedelta(days=10), LAST - timedelta(days=1)
    early = f"{{id: early, strategy: turtle, starts_on: {begin}}}"
    listed = f"portfolios:\n  - {early}\n  - {{id: held, strategy: buy_and_hold}}\n"
    desk = Desk(tmp_path, listed)
    assert "early starts on" in failure(desk.trade(before, before))
    assert set(desk.installation.rows(schema.paper_portfolio)["portfolio_id"]) == {"held"}
    assert days_to_trade(LAST, [(begin, None), (None, before)]) == (begin, LAST)
    result = desk.trade(begin, LAST, goes_on=True)
    assert result.success
    rows = desk.installation.rows(schema.paper_portfolio)
    assert rows.groupby("portfolio_id")["date"].agg(["min", "max"]).to_dict("index") == {
        "early": {"min": begin, "max": LAST},
        "held": {"min": before, "max": LAST},
    }
    assert desk.trade(begin, LAST).success, "a run of many days begins at each portfolio's own first"
    with desk.engine.begin() as connection:
        own = (schema.paper_portfolio.c.portfolio_id == "early") & (schema.paper_portfolio.c.date == LAST)
        connection.execute(sa.delete(schema.paper_portfolio).where(own))
    (warned,) = [
        one
        for one in desk.trade(LAST, LAST, portfolios=["held"]).get_asset_check_evaluations()
        if one.check_name == "configured_portfolios_are_traded"
    ]
    assert (warned.passed, warned.severity) == (False, dg.AssetCheckSeverity.WARN)


@pytest.mark.nightly
def test_a_portfolio_whose_bars_begin_later_begins_with_them(tmp_path: Path) -> None:
    desk, first = Desk(tmp_path), LAST - timedelta(days=5)
    with desk.engine.begin() as connection:
        connection.execute(sa.delete(schema.daily_bars).where(schema.daily_bars.c.date < first))
    terms = {"strategy": "buy_and_hold", "starts_on": (LAST - timedelta(days=15)).isoformat()}
    assert desk.trade(LAST - timedelta(days=15), LAST, terms).success
    rows = desk.installation.rows(schema.paper_portfolio)
    assert (rows["date"].min(), len(rows)) == (first, 6)
    assert desk.trade(LAST - timedelta(days=15), LAST, terms).success, "and the same again changes nothing"


def test_a_monday_follows_what_was_said_of_friday_as_the_backtest_does(
    traded: tuple[Desk, dg.ExecuteInProcessResult],
) -> None:
    engine = traded[0].engine
    monday = LAST - timedelta(days=LAST.weekday() + 7)
    strategy = load_strategies()["historical_ai_signal"]
    said = [("equity:AAPL", monday - timedelta(days=3)), ("equity:MSFT", monday + timedelta(days=1))]
    store_signals(engine, strategy.spec.signal, said)  # type: ignore[union-attr]
    names = instruments_at(engine, "us_equities", monday)
    portfolio = portfolios.Portfolio("p", strategy, "us_equities", monday, names)
    inputs = read_inputs(engine, portfolio, LAST)
    made = portfolios.trade_day(None, portfolio, *inputs.known_on(LAST))
    assert {(one.record.ts.date(), portfolio.instruments[one.instrument]) for one in made.orders} == {
        (monday, "equity:AAPL"),
        (monday + timedelta(days=2), "equity:MSFT"),
    }
    history = scored_bars(engine, strategy, DayRange(monday, LAST), "us_equities")
    signals = signals_for(engine, strategy, decided_days(history, LAST), history.instruments)
    planned = plan(strategy, history, signals)
    ran = simulate(planned, history, terms_of(planned, history, portfolio.costs, portfolio.account))
    assert made.book.settled.equity == ran.last_state.equity


@pytest.mark.nightly
def test_an_instrument_whose_listing_is_known_to_come_has_its_place_from_the_first_day(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    early = START - timedelta(days=100)
    listing = early + timedelta(days=12)
    with desk.engine.begin() as connection:
        bars, listed = schema.daily_bars, schema.instruments
        connection.execute(sa.delete(bars).where((bars.c.instrument_id == "crypto:SOL") & (bars.c.date < listing)))
        connection.execute(sa.update(listed).where(listed.c.instrument_id == "crypto:SOL").values(listed_at=listing))
    terms = {"strategy": "random_entries", "starts_on": early.isoformat()}
    assert desk.trade(early, LAST, terms).success
    told, _ = desk.backtest(terms, LAST)
    assert first_difference(desk.trades(id_of(terms)), told) is None
    assert (told["instrument_id"] == "crypto:SOL").any()


def test_units_that_no_order_brought_and_what_has_no_bars_are_seen(
    traded: tuple[Desk, dg.ExecuteInProcessResult],
) -> None:
    desk, _ = traded
    rows = desk.installation.rows(schema.paper_portfolio)
    own = rows[rows["portfolio_id"] == id_of(WEIGHTS)].sort_values("date").to_dict("records")
    before, row = own[-2:]
    orders = desk.installation.rows(schema.paper_orders, LAST)
    orders = orders[(orders["portfolio_id"] == id_of(WEIGHTS)) & (orders["status"] == "filled")].to_dict("records")
    assert units_apart(row, before, orders) is None
    assert "the day before and orders make" in str(units_apart(row, None, orders))
    held = json.loads(row["positions_json"])[0]["instrument_id"]
    doubled = restatements_text([Restatement(held, before["date"], 1.0, 0.5, Decimal(2))])
    assert "the day before and orders make" in str(units_apart({**row, "restated_json": doubled}, before, orders))
    assert frozen(row) is None
    assert f"{held} since" in str(frozen({**row, "date": LAST + timedelta(days=11)}))


def test_checks_see_what_is_wrong_in_stored_rows(traded: tuple[Desk, dg.ExecuteInProcessResult]) -> None:
    desk, _ = traded
    row = desk.installation.rows(schema.paper_portfolio, LAST).to_dict("records")[0]
    paid = paid_before(desk.engine, row)
    assert out_of_balance(row, paid) is None
    assert "is not cash" in str(out_of_balance({**row, "equity": row["equity"] + 1}, paid))
    assert "capital and orders make" in str(out_of_balance(row, paid + 1))
    assert "at the engine" in str(out_of_balance({**row, "engine_cash": row["engine_cash"] + 1.0}, paid))
    assert "cannot be read" in str(out_of_balance({**row, "settled_json": "{}"}, paid))
    orders = desk.installation.rows(schema.paper_orders)
    books = {
        (one["portfolio_id"], one["date"]): one
        for one in desk.installation.rows(schema.paper_portfolio).to_dict("records")
    }
    assert found(orders, lambda one: undecided(one, books)).empty
    later = orders[orders["date"] > START + timedelta(days=5)].iloc[0].to_dict()
    sooner = later["decided_on"] - timedelta(days=9)
    assert "nothing decided on" in str(undecided({**later, "decided_on": sooner}, books))
    assert "not after it" in str(undecided({**later, "decided_on": later["date"]}, books))
    entries = orders[(orders["decision"] == "entry") & orders["stop_price"].notna() & (orders["status"] == "filled")]
    entry = entries.iloc[0].to_dict()
    assert misplaced(entry) is None
    side = 1.0 if entry["side"] == "buy" else -1.0
    assert "with a stop at" in str(misplaced({**entry, "stop_price": float(entry["price"]) + side}))
    assert "with a target at" in str(misplaced({**entry, "target_price": float(entry["price"]) - side}))


@pytest.mark.nightly
def test_a_run_that_dies_leaves_whole_days_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from defiyield_assets.orchestration.assets import paper

    desk = Desk(tmp_path)
    keep = paper.keep_day

    def dying(engine: sa.Engine, portfolio_id: str, day: date, *rest: Any, **more: Any) -> Any:
        if day == START + timedelta(days=5):
            raise OSError("power cut")
        return keep(engine, portfolio_id, day, *rest, **more)

    monkeypatch.setattr(paper, "keep_day", dying)
    assert not desk.trade(START, LAST, RULES).success
    monkeypatch.setattr(paper, "keep_day", keep)
    assert desk.installation.rows(schema.paper_portfolio)["date"].max() == START + timedelta(days=4)
    assert desk.trade(START + timedelta(days=5), LAST, RULES).success
    told, _ = desk.backtest(RULES, LAST)
    assert first_difference(desk.trades(id_of(RULES)), told) is None


@pytest.mark.parametrize(
    ("day", "portfolios", "span"),
    [
        (5, [(None, None), (None, None)], (5, 5)),
        (5, [(None, 4), (None, 4)], (4, 5)),
        (5, [(None, 5), (None, 5)], (5, 5)),
        (5, [(1, 2), (None, 4), (None, None)], (2, 5)),
        (5, [(3, None), (None, 4)], (3, 5)),
        (5, [(9, None), (None, 4)], (4, 5)),
        (4, [(None, 5), (None, 5)], None),
        (5, [], None),
    ],
)
def test_something_new_asks_for_the_days_since_the_newest_that_was_traded_and_since_new_portfolios_begin(
    day: int, portfolios: list[tuple[int | None, int | None]], span: tuple[int, int] | None
) -> None:
    def of_june(one: int | None) -> date | None:
        return None if one is None else date(2025, 6, one)

    told = days_to_trade(date(2025, 6, day), [(of_june(starts), of_june(newest)) for starts, newest in portfolios])
    assert told == (None if span is None else (of_june(span[0]), of_june(span[1])))


def test_an_old_day_that_is_made_behind_the_newest_hides_nothing() -> None:
    def made(*days: str) -> None:
        for day in days:
            instance.report_runless_asset_event(dg.AssetMaterialization("daily_features", partition=day))

    with dg.DagsterInstance.ephemeral() as instance:
        assert newly_made(instance, "daily_features", None) == (None, None)
        made("2025-06-03", "2024-05-01")
        day, cursor = newly_made(instance, "daily_features", None)
        assert day == date(2025, 6, 3)
        assert newly_made(instance, "daily_features", cursor) == (None, cursor)
        made("2025-06-04", "2024-05-01", "2024-05-02")
        day, later = newly_made(instance, "daily_features", cursor)
        assert (day, later != cursor) == (date(2025, 6, 4), True)


@pytest.mark.nightly
def test_new_features_ask_for_paper_trading_and_a_set_up_for_scenarios(tmp_path: Path) -> None:
    installation = Installation(tmp_path)
    installation.warehouse.migrate()
    features, _, after = PAPER_SENSORS
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization("daily_features", partition="2025-06-03"))
        context = dg.build_sensor_context(
            instance=instance,
            repository_def=installation.definitions.get_repository_def(),
            resources={"warehouse": installation.warehouse, "policy": PolicyResource()},
        )
        told = features.evaluate_tick(context)
    (request,) = told.run_requests or []
    assert request.tags[RANGE_START] == request.tags[RANGE_END] == "2025-06-03"
    assert request.run_config == {"ops": {"paper_books": {"config": {"goes_on": True}}}}
    assert after.name == "scenarios_after_set_up"
    assert {job.name for job in after.jobs} == {"generate_scenarios"}


@pytest.mark.nightly
def test_the_three_workflows_are_jobs_that_run_whole(tmp_path: Path) -> None:
    """A range of the past, a day of live trading, and an update, each as one run of its job."""
    installation = Installation(tmp_path)
    installation.warehouse.migrate()
    day = date(2025, 6, 3)

    def made(job: str, first: date, last: date) -> set[str]:
        tags = {RANGE_START: first.isoformat(), RANGE_END: last.isoformat()}
        with dg.DagsterInstance.ephemeral() as instance:
            result = installation.definitions.resolve_job_def(job).execute_in_process(
                instance=instance, run_config=SILENT, raise_on_error=False, tags=tags
            )
        assert result.success, failure(result)
        keys = (event.asset_key for event in result.get_asset_materialization_events())
        return {key.to_user_string() for key in keys if key is not None}

    past = made(set_up_desk.name, day - timedelta(days=1), day)
    assert {"daily_bars", "daily_features", "news_sentiment", "trading_signals", "strategies"} <= past
    assert "paper_portfolio" not in past
    live = made(trade_day.name, day + timedelta(days=1), day + timedelta(days=1))
    assert {"daily_bars", "news_articles", "trading_signals", "paper_portfolio", "paper_orders"} <= live
    assert {"daily_bars", "paper_portfolio"} & made(
        update_desk.name, day + timedelta(days=1), day + timedelta(days=1)
    ) == {"paper_portfolio"}
    rows = installation.rows(schema.paper_portfolio)
    assert set(rows["portfolio_id"]) == {"sma_cross", "buy_and_hold"}
    assert (rows["bar_date"] == day + timedelta(days=1)).all()
