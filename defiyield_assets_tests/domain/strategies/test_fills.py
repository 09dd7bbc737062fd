"""The engine's rules of fills, one bar at a time: opens, costs, stops, targets, gaps, sizes."""

from math import isnan

import numpy as np
import pytest

from defiyield_assets.domain.strategies.bars import price_history
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.engine import Terms, step
from defiyield_assets.domain.strategies.runs import BacktestResult, run
from defiyield_assets.domain.strategies.state import Bar, Decision, Exit, Position, State, Step
from defiyield_assets_tests.domain.strategies.histories import hand_written, strategy_of

FREE = CostModel(fee=0.0, half_spread=0.0, borrow=0.0)
CAPITAL = 10_000.0
AT_ONCE = """
id: at_once
version: 1
universe: all
sizing: {{method: fixed, share: {share}}}
rules:
  - side: {side}
    enter: {{col: is_entry, op: eq, value: 1}}
    exit: {{col: is_exit, op: eq, value: 1}}
    {more}
"""
FLAT = (100.0, 100.0, 100.0, 100.0)


def backtest(
    bars: list[tuple[float, float, float, float]],
    *,
    side: str = "long",
    more: str = "",
    share: float = 1.0,
    costs: CostModel = FREE,
    gaps: tuple[int, ...] = (),
    entry: int = 0,
    leave: int | None = None,
    account: Account | None = None,
) -> BacktestResult:
    """A run that decides to enter on bar `entry` and to leave on bar `leave`."""
    flags = {"is_entry": [float(i == entry) for i in range(len(bars))]}
    flags["is_exit"] = [float(i == leave) for i in range(len(bars))]
    strategy = strategy_of(AT_ONCE.format(side=side, more=more, share=share))
    history = hand_written(bars, gaps, **flags)
    return run(strategy, history, costs, account or Account(CAPITAL), cost_factors=())


def test_an_order_decided_on_a_bar_is_filled_at_the_next_open_against_us_by_half_spread_and_fee() -> None:
    bars = [FLAT, (110.0, 112.0, 109.0, 111.0), (120.0, 121.0, 119.0, 120.0), (130.0, 131.0, 129.0, 130.0)]
    trade = backtest(bars, share=0.5, costs=CostModel(borrow=0.0), leave=2).trades.iloc[0]
    assert trade["entry_price"] == pytest.approx(110.0 * 1.0005, rel=1e-15)
    assert trade["exit_price"] == pytest.approx(130.0 * 0.9995, rel=1e-15)
    quantity = 0.5 * CAPITAL / (110.0 * 1.0005)
    assert trade["quantity"] == pytest.approx(quantity)
    assert trade["entry_fee"] == pytest.approx(0.001 * quantity * 110.0 * 1.0005)
    net = quantity * (130.0 * 0.9995 * 0.999 - 110.0 * 1.0005 * 1.001)
    assert trade["pnl"] == pytest.approx(net)
    assert str(trade["entry_date"])[:10] == "2024-01-02"
    assert trade["exit_reason"] == "signal"


def test_golden_a_long_stop_at_32_411_fills_at_the_reopening_of_27_621() -> None:
    bars = [(34.0, 34.2, 33.9, 34.1), (34.117, 34.2, 34.05, 34.117), (27.621, 28.016, 27.619, 27.958), FLAT]
    trade = backtest(bars, more="stop: {pct: 0.05}").trades.iloc[0]
    assert trade["entry_price"] == 34.117
    assert trade["entry_price"] * 0.95 == pytest.approx(32.411, abs=5e-4)
    assert trade["exit_price"] == 27.621
    assert trade["exit_reason"] == "stop"


def test_a_stop_inside_the_bar_fills_at_the_stop() -> None:
    bars = [FLAT, FLAT, (99.0, 99.5, 90.0, 92.0), FLAT]
    trade = backtest(bars, more="stop: {pct: 0.05}").trades.iloc[0]
    assert trade["exit_price"] == pytest.approx(95.0)


def test_golden_a_short_over_a_masked_gap_fills_at_the_bars_high() -> None:
    bars = [FLAT, FLAT, (100.0, 131.0, 99.0, 130.0), FLAT]
    for costs in (FREE, CostModel()):
        trade = backtest(bars, side="short", more="stop: {pct: 0.05}", gaps=(2,), costs=costs).trades.iloc[0]
        assert trade["exit_price"] == 131.0, "nobody traded beyond it, whatever the spread"
    assert trade["exit_reason"] == "stop"


def test_a_long_stop_over_a_masked_gap_fills_at_the_bars_low() -> None:
    bars = [FLAT, FLAT, (100.0, 101.0, 70.0, 71.0), FLAT]
    trade = backtest(bars, more="stop: {pct: 0.05}", gaps=(2,)).trades.iloc[0]
    assert trade["exit_price"] == 70.0


@pytest.mark.parametrize(("side", "entered", "left"), [("long", 131.0, 119.0), ("short", 99.0, 135.0)])
def test_market_orders_on_a_masked_gap_fill_at_the_extreme_against_us_since_its_open_is_false(
    side: str, entered: float, left: float
) -> None:
    bars = [FLAT, (100.0, 131.0, 99.0, 130.0), (130.0, 130.0, 130.0, 130.0), (130.0, 135.0, 119.0, 120.0), FLAT]
    trade = backtest(bars, side=side, gaps=(1, 3), leave=2, share=0.5).trades.iloc[0]
    assert (trade["entry_price"], trade["exit_price"]) == (entered, left)


def test_a_stop_is_not_judged_by_the_range_of_the_masked_gap_that_it_was_entered_on() -> None:
    bars = [FLAT, (100.0, 131.0, 99.0, 130.0), (130.0, 131.0, 129.0, 130.0), FLAT]
    trade = backtest(bars, more="stop: {pct: 0.05}", gaps=(1,)).trades.iloc[0]
    assert str(trade["exit_date"])[:10] == "2024-01-04"


@pytest.mark.parametrize(("side", "level"), [("long", 95.0), ("short", 105.0)])
def test_where_a_bar_reaches_stop_and_target_it_is_the_stop(side: str, level: float) -> None:
    bars = [FLAT, FLAT, (100.0, 120.0, 80.0, 100.0), FLAT]
    trade = backtest(bars, side=side, more="stop: {pct: 0.05}\n    target: {pct: 0.05}").trades.iloc[0]
    assert trade["exit_reason"] == "stop"
    assert trade["exit_price"] == pytest.approx(level)


@pytest.mark.parametrize(
    ("side", "bar", "limit"),
    [
        ("long", (125.0, 130.0, 124.0, 126.0), 110.0),
        ("short", (75.0, 76.0, 70.0, 74.0), 90.0),
    ],
)
def test_a_target_fills_at_its_limit_and_never_better_even_where_the_open_is(
    side: str, bar: tuple[float, float, float, float], limit: float
) -> None:
    costs = CostModel(fee=0.0, half_spread=0.0005, borrow=0.0)
    bars = [FLAT, FLAT, bar, FLAT]
    trade = backtest(bars, side=side, more="target: {pct: 0.10}", costs=costs, share=0.5).trades.iloc[0]
    sign = 1 if side == "long" else -1
    assert trade["exit_price"] == pytest.approx(limit * (1 + sign * 0.0005), rel=1e-12)
    assert trade["exit_reason"] == "target"


def test_a_stop_can_be_hit_on_the_bar_of_the_entry() -> None:
    trade = backtest([FLAT, (100.0, 101.0, 94.0, 96.0), FLAT], more="stop: {pct: 0.05}").trades.iloc[0]
    assert trade["exit_price"] == pytest.approx(95.0)
    assert trade["bars_held"] == 1


def test_what_is_open_at_the_end_closes_at_the_final_mark() -> None:
    result = backtest([FLAT, FLAT, (100.0, 110.0, 100.0, 108.0)], costs=CostModel(fee=0.001, half_spread=0.0005))
    trade = result.trades.iloc[0]
    assert (trade["exit_price"], trade["exit_reason"]) == (108.0, "end")
    assert result.equity["equity"].iloc[-1] == pytest.approx(CAPITAL + result.trades["pnl"].sum())


def test_a_sell_rule_closes_a_long_and_opens_a_short_only_where_shorts_are_enabled() -> None:
    text = """
    id: both
    version: 1
    universe: all
    sizing: {method: fixed, share: 0.5}
    rules:
      - {side: long, enter: {col: is_entry, op: eq, value: 1}}
      - {side: short, enter: {col: is_exit, op: eq, value: 1}}
    """
    bars = [FLAT] * 6
    history = hand_written(bars, is_entry=[1, 0, 0, 0, 0, 0], is_exit=[0, 0, 1, 0, 0, 0])
    both = run(strategy_of(text), history, FREE, Account(CAPITAL)).trades
    assert both["side"].tolist() == ["long", "short"]
    assert both["exit_reason"].tolist() == ["reverse", "end"]
    longs = run(strategy_of(text), history, FREE, Account(CAPITAL, allow_short=False)).trades
    assert longs["side"].tolist() == ["long"]


def test_a_short_pays_for_what_it_borrows_by_calendar_days() -> None:
    bars = [FLAT] * 6
    trade = backtest(bars, side="short", share=0.5, costs=CostModel(0.0, 0.0, borrow=0.365), leave=4).trades.iloc[0]
    assert trade["borrow_cost"] == pytest.approx(0.5 * CAPITAL * 0.001 * 4)
    assert trade["pnl"] == pytest.approx(-trade["borrow_cost"])


def test_size_by_risk_is_risk_times_equity_over_the_way_to_the_stop() -> None:
    text = AT_ONCE.format(side="long", more="stop: {pct: 0.10}", share=1.0).replace(
        "{method: fixed, share: 1.0}", "{method: risk, risk: 0.01, max_position: 0.2}"
    )
    history = hand_written([FLAT] * 3, is_entry=[1, 0, 0], is_exit=[0, 0, 0])
    trade = run(strategy_of(text), history, FREE, Account(CAPITAL)).trades.iloc[0]
    assert trade["quantity"] == pytest.approx(0.01 * CAPITAL / 10.0)
    tight = run(strategy_of(text.replace("0.10", "0.001")), history, FREE, Account(CAPITAL)).trades.iloc[0]
    assert tight["quantity"] == pytest.approx(0.2 * CAPITAL / 100.0), "max_position bounds it"


def test_two_rules_of_one_instrument_share_its_greatest_position() -> None:
    text = AT_ONCE.format(side="long", more="", share=0.15).replace("share: 0.15", "share: 0.15, max_position: 0.25")
    text += text[text.index("  - side") :].replace("is_entry", "is_late")
    history = hand_written([FLAT] * 5, is_entry=[1, 0, 0, 0, 0], is_late=[0, 1, 0, 0, 0], is_exit=[0.0] * 5)
    trades = run(strategy_of(text), history, FREE, Account(CAPITAL)).trades.sort_values("rule")
    assert trades["quantity"].tolist() == pytest.approx([15.0, 10.0]), "a quarter of equity in both together"


def test_size_is_at_most_what_cash_pays_for_with_the_fee() -> None:
    result = backtest([FLAT] * 4, costs=CostModel(fee=0.01, half_spread=0.0))
    assert result.trades["quantity"].iloc[0] == pytest.approx(CAPITAL / (100.0 * 1.01))
    assert result.equity["cash"].min() >= 0.0
    whole = backtest([FLAT] * 4, costs=CostModel(fee=0.01, half_spread=0.0), account=Account(CAPITAL, whole_units=True))
    assert whole.trades["quantity"].iloc[0] == 99.0


def test_a_least_fee_is_paid_and_the_square_root_of_the_share_of_volume_moves_the_price() -> None:
    least = backtest([FLAT] * 4, share=0.01, costs=CostModel(0.0, 0.0, min_fee=7.0))
    assert least.metrics["fees"] == pytest.approx(14.0)
    costs = CostModel(impact=0.5)
    assert costs.impact_of(100.0, 10_000.0, 0.02) == pytest.approx(0.5 * 0.02 * 0.1)
    assert isnan(costs.impact_of(100.0, float("nan"), 0.02))
    refused = backtest([FLAT] * 4, costs=CostModel(impact=0.5))
    assert refused.trades.empty, "no volume is known"
    assert refused.refusals == {"impact unknown": 1}


def test_an_entry_whose_stop_is_unknown_or_on_the_wrong_side_is_refused_with_its_reason() -> None:
    refused = backtest([FLAT] * 4, more="stop: {fixed: 120}")
    assert refused.trades.empty
    assert refused.refusals == {"stop unknown or beyond the entry": 1}


def test_an_order_waits_for_the_instruments_next_bar_and_its_mark_stays() -> None:
    none = (float("nan"),) * 4
    result = backtest([FLAT, none, none, (105.0, 106.0, 104.0, 105.0), (105.0, 105.0, 105.0, 105.0)])
    assert str(result.trades["entry_date"].iloc[0])[:10] == "2024-01-04"
    assert result.trades["entry_price"].iloc[0] == 105.0


def test_a_bar_of_a_close_alone_fills_at_that_close() -> None:
    nan = float("nan")
    bars = [(nan, nan, nan, price) for price in (100.0, 101.0, 99.0, 90.0, 95.0)]
    trade = backtest(bars, more="stop: {pct: 0.05}").trades.iloc[0]
    assert trade["entry_price"] == 101.0
    assert trade["exit_price"] == 90.0, "the close at which the stop was seen to be passed"


def test_a_short_that_is_worth_less_than_nothing_at_a_mark_is_the_accounts_ruin_whatever_comes_after() -> None:
    bars = [FLAT, FLAT, (1000.0, 1000.0, 1000.0, 1000.0), FLAT, FLAT]
    result = backtest(bars, side="short", costs=FREE)
    assert result.trades["exit_reason"].tolist() == ["margin"]
    assert result.trades["exit_price"].tolist() == [1000.0]
    assert result.trades["pnl"].tolist() == [-90_000.0], "the whole loss, of which 80,000 are the lenders'"
    assert result.equity["equity"].tolist() == [CAPITAL, CAPITAL, 0.0, 0.0, 0.0]
    assert result.metrics["max_drawdown"] == -1.0
    wide = backtest(bars, side="short", costs=CostModel(0.0, 0.01, borrow=0.0))
    assert wide.trades["exit_price"].tolist() == pytest.approx([1010.0]), "closed by an order of the market"


LONG_AND_SHORT = """
id: long_and_short
version: 1
universe: all
sizing: {{method: fixed, share: {share}}}
rules:
  - {{side: short, enter: {{col: is_short, op: eq, value: 1}}{more}}}
  - {{side: long, enter: {{col: is_long, op: eq, value: 1}}}}
"""
Quotes = list[tuple[float, float, float, float]]


def beside(
    short: Quotes,
    *longs: Quotes,
    share: float = 0.25,
    more: str = ", stop: {pct: 0.1}",
    costs: CostModel = FREE,
    account: Account | None = None,
    again: int | None = None,
    gap: int | None = None,
) -> BacktestResult:
    """A run that shorts the first instrument at bar 1 and buys the others at bar 2, all at 100.

    `again`: a bar on which it decides to buy once more; `gap`: one that is a masked gap of the others.
    """
    table = np.array([[FLAT] * 3 + quotes for quotes in (short, *longs)])
    columns = {name: table[:, :, i].T for i, name in enumerate(("open", "high", "low", "close"))}
    flags = {name: np.zeros(columns["close"].shape) for name in ("is_short", "is_long")}
    columns["gap_flag"] = np.zeros(columns["close"].shape)
    if gap is not None:
        columns["gap_flag"][gap, 1:] = 1.0
    flags["is_short"][0, 0] = 1.0
    flags["is_long"][[1] if again is None else [1, again], 1:] = 1.0
    dates = np.datetime64("2024-01-01") + np.arange(len(columns["close"]))
    history = price_history(["a", "b", "c"][: len(table)], dates, columns, flags)
    strategy = strategy_of(LONG_AND_SHORT.format(share=share, more=more))
    return run(strategy, history, costs, account or Account(CAPITAL), cost_factors=())


HALF = (50.0, 50.0, 50.0, 50.0)
LEAP = (400.0, 400.0, 400.0, 400.0)


def test_what_a_short_costs_beyond_cash_is_paid_out_of_longs_each_sold_by_the_same_part_at_the_market() -> None:
    # 25 of a shorted, 25 of b and of c held, cash 7,500; a opens at 400: 10,000 are due, b and c bring 3,750.
    result = beside([LEAP, LEAP], [FLAT, FLAT], [HALF, HALF])
    trades = result.trades
    assert trades["instrument_id"].tolist() == ["b", "c", "a", "b", "c"]
    assert trades["exit_reason"].tolist() == ["margin", "margin", "stop", "end", "end"]
    assert trades["exit_price"].tolist() == [100.0, 50.0, 400.0, 100.0, 50.0]
    assert trades["quantity"].tolist() == pytest.approx([25 * 2 / 3, 25 * 2 / 3, 25.0, 25 / 3, 25 / 3])
    assert result.equity["cash"].tolist() == pytest.approx([10_000, 12_500, 7_500, 0, 1_250])
    assert result.equity["equity"].tolist() == pytest.approx([10_000, 10_000, 10_000, 1_250, 1_250])
    assert trades["pnl"].sum() == pytest.approx(1_250 - CAPITAL)


def test_a_short_that_costs_more_than_cash_and_longs_leaves_nothing_and_nothing_is_traded_after_it() -> None:
    far = (900.0, 900.0, 900.0, 900.0)
    for more, reasons in ((", stop: {pct: 0.1}", ["margin", "stop"]), ("", ["margin", "margin"])):
        result = beside([far, FLAT, FLAT, FLAT], [FLAT] * 4, more=more, again=4)
        assert result.trades["instrument_id"].tolist() == ["b", "a"]
        assert result.trades["exit_reason"].tolist() == reasons
        assert result.trades["pnl"].tolist() == pytest.approx([0.0, -20_000.0]), "all of it, not only what was paid"
        assert result.equity["equity"].tolist() == [CAPITAL] * 3 + [0.0] * 4
        assert result.metrics["total_return"] == result.metrics["max_drawdown"] == -1.0
        assert result.refusals == {"ruined": 1}


def test_inside_a_bar_longs_are_sold_at_its_close_since_nobody_knows_what_they_stood_at_when_the_stop_was_hit() -> None:
    stop = "stop: {pct: 3.0}"
    result = beside([(100.0, 400.0, 100.0, 300.0)] * 2, [(100.0, 130.0, 80.0, 125.0)] * 2, share=0.5, more=", " + stop)
    trades = result.trades.set_index("exit_reason")
    assert trades.loc["stop", "exit_price"] == 400.0
    assert trades.loc["margin", "exit_price"] == 125.0
    assert trades.loc["margin", "bars_held"] == trades.loc["stop", "bars_held"] - 1 == 2
    assert result.equity["equity"].iloc[-1] == 0.0, "20,000 are due, 10,000 and 6,250 are there"
    masked = beside(
        [(100.0, 400.0, 100.0, 300.0)] * 2, [(100.0, 130.0, 80.0, 125.0)] * 2, share=0.5, more=", " + stop, gap=3
    )
    assert masked.trades.set_index("exit_reason").loc["margin", "exit_price"] == 80.0, "a masked gap's own rule"


def test_a_long_that_rests_is_taken_over_at_its_last_mark_when_a_short_must_be_paid() -> None:
    none = (float("nan"),) * 4
    result = beside([LEAP, LEAP], [none, HALF], [none, HALF])
    assert result.trades["exit_price"].tolist()[:2] == [100.0, 100.0]
    assert result.trades["quantity"].tolist()[:2] == pytest.approx([12.5, 12.5])


def test_longs_bring_in_their_own_costs_too_and_whole_units_are_rounded_up() -> None:
    costs = CostModel(fee=0.01, half_spread=0.02, min_fee=1.0, borrow=0.0)
    told = beside([LEAP, LEAP], [FLAT, FLAT], [HALF, HALF], costs=costs)
    sold = told.trades[told.trades["exit_reason"] == "margin"]
    assert sold["exit_price"].tolist() == pytest.approx([98.0, 49.0])
    assert 0.0 <= told.equity["cash"].iloc[3] <= 2.0, "at most the least fees, kept back once too often"
    whole = beside([LEAP, LEAP], [FLAT, FLAT], [HALF, HALF], account=Account(CAPITAL, whole_units=True))
    assert whole.trades["quantity"].tolist() == [17.0, 17.0, 25.0, 8.0, 8.0]
    assert whole.equity["cash"].iloc[3] == 50.0


def test_what_is_borrowed_is_paid_out_of_longs_too() -> None:
    # 80 % a night of 2,500, twice; then a is worth 7,500, of which 6,000 are due, 4,500 in cash and 12,000 in longs.
    rich, dear = (500.0,) * 4, (300.0,) * 4
    night, patient = CostModel(0.0, 0.0, borrow=365.0 * 0.8), Account(CAPITAL, maintenance=0.0)
    told = beside([dear] * 2, [FLAT] * 2, [rich] * 2, more="", costs=night, account=patient)
    assert told.equity["equity"].tolist() == pytest.approx([10_000, 10_000, 8_000, 9_000, 3_000])
    assert told.trades["exit_reason"].tolist() == ["margin", "margin", "end", "end", "end"]
    assert told.trades["quantity"].tolist() == pytest.approx([2.5, 2.5, 17.5, 17.5, 25.0])


def _one_step(cash: float, positions: list[tuple[int, float]], exits: tuple[Exit, ...] = ()) -> Step:
    """A bar in which every position, of one unit at (side, price), stands where it stood."""
    prices = tuple(price for _, price in positions)
    held = tuple(Position(0, j, side, 1.0, price, 0, 0.0) for j, (side, price) in enumerate(positions))
    state = State(cash, prices, (1,) * len(prices), held, exits, day=0)
    bar = Bar(1, prices, prices, prices, prices, (0.0,) * len(prices))
    return step(state, bar, Decision(), Terms(FREE, Account(maintenance=0.0)))


def test_what_rounding_leaves_of_equal_sums_is_nothing_and_what_it_lacks_sells_nothing() -> None:
    # 0.4 + 0.3 + 2.5 - 2.4 - 0.8 is 0, or 2e-16, by the order in which it is summed.
    ruined = _one_step(0.4, [(-1, 2.4), (-1, 0.8), (1, 0.3), (1, 2.5)])
    assert ruined.state.is_ruined
    assert ruined.state.equity == ruined.unpaid == 0.0
    covered = _one_step(0.3, [(-1, 0.1 + 0.2), (1, 5.0)], (Exit(0, 0, "signal"),))
    assert [one.instrument for one in covered.trades] == [0]
    assert (covered.state.cash, covered.unpaid, covered.state.equity) == (0.0, 0.0, 5.0)


def test_borrowing_alone_can_ruin_and_the_trade_tells_all_of_it() -> None:
    # 90 % a night of 5,000 are 4,500, and nobody can pay them a third time.
    result = beside([FLAT] * 4, [FLAT] * 4, share=0.5, more="", costs=CostModel(0.0, 0.0, borrow=365.0 * 0.9))
    assert result.trades["exit_reason"].tolist()[0] == "margin"
    assert result.equity["equity"].tolist() == pytest.approx([10_000, 10_000, 5_500, 1_000, 0, 0, 0])
    assert result.trades.set_index("instrument_id").loc["a", "borrow_cost"] == pytest.approx(13_500.0)


def test_capital_is_shared_by_all_positions() -> None:
    price = np.full((5, 2), 100.0)
    columns = dict.fromkeys(("open", "high", "low", "close"), price)
    flags = {"is_entry": np.array([[1.0, 1.0]] + [[0.0, 0.0]] * 4), "is_exit": np.zeros((5, 2))}
    history = price_history(["a", "b"], np.datetime64("2024-01-01") + np.arange(5), columns, flags)
    strategy = strategy_of(AT_ONCE.format(side="long", more="", share=0.7))
    result = run(strategy, history, FREE, Account(CAPITAL))
    assert result.trades["quantity"].tolist() == pytest.approx([70.0, 30.0])


def test_impact_moves_every_market_order_by_the_volume_of_the_day_before() -> None:
    rng = np.random.default_rng(0)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0, 0.02, (40, 1)), axis=0))
    columns = dict.fromkeys(("open", "high", "low", "close"), close) | {"volume": np.full((40, 1), 10_000.0)}
    flags = {name: np.zeros((40, 1)) for name in ("is_entry", "is_exit")}
    flags["is_entry"][30] = flags["is_exit"][35] = 1.0
    history = price_history(["x"], np.datetime64("2024-01-01") + np.arange(40), columns, flags)
    strategy = strategy_of(AT_ONCE.format(side="long", more="", share=0.5))
    trade = run(strategy, history, CostModel(0.0, 0.0, impact=0.5), Account(CAPITAL)).trades.iloc[0]
    steps = close[1:, 0] / close[:-1, 0] - 1.0
    for row, price, sign in ((30, trade["entry_price"], 1.0), (35, trade["exit_price"], -1.0)):
        sigma = steps[row - 20 : row].std(ddof=1)
        moved = 1.0 + sign * 0.5 * sigma * np.sqrt(trade["quantity"] / 10_000.0)
        assert price == pytest.approx(close[row + 1, 0] * moved, rel=2e-6)


def test_what_a_short_brings_in_and_as_much_again_is_no_cash_for_longs() -> None:
    text = """
    id: pair
    version: 1
    universe: all
    sizing: {method: fixed, share: 0.6}
    rules:
      - {side: short, enter: {col: is_short, op: eq, value: 1}}
      - {side: long, enter: {col: is_long, op: eq, value: 1}}
    """
    columns = dict.fromkeys(("open", "high", "low", "close"), np.full((5, 2), 100.0))
    flags = {"is_short": np.zeros((5, 2)), "is_long": np.zeros((5, 2))}
    flags["is_short"][0, 0] = flags["is_long"][1, 1] = 1.0
    history = price_history(["a", "b"], np.datetime64("2024-01-01") + np.arange(5), columns, flags)
    trades = run(strategy_of(text), history, FREE, Account(CAPITAL)).trades.set_index("instrument_id")
    assert trades["quantity"].to_dict() == pytest.approx({"a": 60.0, "b": 40.0})
