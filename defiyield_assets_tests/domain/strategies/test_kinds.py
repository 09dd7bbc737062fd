"""Kinds of strategies beside rules: events, windows, votes, signals from outside, allocations, purchases, chance."""

from math import nan

import numpy as np
import pytest

from defiyield_assets.domain.strategies.bars import PriceHistory, price_history
from defiyield_assets.domain.strategies.costs import Account, CostModel
from defiyield_assets.domain.strategies.external import signal_frame
from defiyield_assets.domain.strategies.language import CompositeStrategy
from defiyield_assets.domain.strategies.plans import plan
from defiyield_assets.domain.strategies.runs import BacktestResult, run
from defiyield_assets.domain.strategies.strategy import Strategy
from defiyield_assets.domain.strategies.weights import acting_rows
from defiyield_assets_tests.domain.strategies.histories import random_walk, strategy_of

FREE = CostModel(fee=0.0, half_spread=0.0, borrow=0.0)
HEAD = "id: one\nversion: 1\nuniverse: all\n"


def _history(closes: list[list[float]], start: str = "2024-01-01", **features: list[list[float]]) -> PriceHistory:
    """Instruments a, b, … whose open is the close before."""
    close = np.array(closes, dtype=np.float64).T
    opened = np.concatenate([close[:1], close[:-1]])
    opened = np.where(np.isnan(close), nan, opened)
    columns = {"open": opened, "high": np.maximum(opened, close), "low": np.minimum(opened, close), "close": close}
    names = [chr(ord("a") + j) for j in range(close.shape[1])]
    own = {name: np.array(values, dtype=np.float64).T for name, values in features.items()}
    return price_history(names, np.datetime64(start) + np.arange(len(close)), columns, own)


def _run(text: str, history: PriceHistory, costs: CostModel = FREE, **more: object) -> BacktestResult:
    return run(strategy_of(HEAD + text), history, costs, Account(1000.0), cost_factors=(), **more)  # type: ignore[arg-type]


def _days(result: BacktestResult, column: str) -> list[str]:
    return [str(one)[5:10] for one in result.trades[column]]


def test_an_event_strategy_is_in_from_days_before_to_days_after() -> None:
    ahead, past = [4, 3, 2, 1, 0, 9, 9, 9, 9.0], [nan, nan, nan, nan, 0, 1, 2, 3, 4]
    history = _history([[10.0] * 9], days_to_event=[ahead], days_since_event=[past])
    text = "type: event\npre_days: 2\npost_days: 2\nsizing: {method: equal}\n"
    result = _run(text, history)
    assert _days(result, "entry_date") == ["01-04"], "decided on the 3rd, two days ahead"
    assert _days(result, "exit_date") == ["01-08"], "decided on the 7th, two days after"


def test_a_time_window_is_judged_by_the_date_of_the_completed_bar() -> None:
    text = "type: time_window\nwindow: {weekdays: [5]}\nsizing: {method: equal}\n"
    result = _run(text, _history([[10.0] * 10]))
    assert _days(result, "entry_date") == ["01-06"]
    assert _days(result, "exit_date") == ["01-07"]


def test_a_window_is_not_entered_again_after_a_stop_before_the_next_one() -> None:
    text = "type: time_window\nwindow: {days_of_month: [1, 2, 3, 4, 5]}\nsizing: {method: equal}\nstop: {pct: 0.05}\n"
    result = _run(text, _history([[10, 10, 8, 8, 8, 8, 8.0]]))
    assert result.trades["exit_reason"].tolist() == ["stop"]


def _member(name: str, side: str, column: str) -> Strategy:
    text = (
        f"id: {name}\nversion: 1\nuniverse: all\nsizing: {{method: equal}}\nrules:\n"
        f"  - side: {side}\n    enter: {{col: {column}, op: eq, value: 1}}\n"
        f"    exit: {{col: {column}, op: eq, value: -1}}\n"
    )
    return strategy_of(text)


def _vote(vote: str, **more: object) -> list[int]:
    """Rows on which a composite of three members is entered, and (negative) left."""
    a = [1, 0, 0, 0, -1, 0, 0, 0, 0, 0.0]
    b = [0, 1, 0, 0, 0, 0, -1, 0, 0, 0.0]
    c = [0, 0, 0, 1, 0, 0, 0, 0, -1, 0.0]
    history = _history([[10.0] * 10], a=[a], b=[b], c=[c])
    names = [("ma", "a", 3.0), ("mb", "b", 1.0), ("mc", "c", 1.0)]
    spec = CompositeStrategy.model_validate(
        {
            **{"id": "vote", "version": 1, "universe": "all", "type": "composite", "vote": vote},
            "sizing": {"method": "equal"},
            "members": [{"strategy": name, "weight": weight} for name, _, weight in names],
            **more,
        }
    )
    strategy = Strategy(spec, tuple(_member(name, "long", column) for name, column, _ in names))
    rule = plan(strategy, history).rules[0]
    result = run(strategy, history, FREE, cost_factors=())
    first = np.flatnonzero(rule.enter[:, 0]).tolist()
    return [*first, *(-int(str(one)[8:10]) for one in result.trades["exit_date"])]


def test_members_vote() -> None:
    assert _vote("unanimous")[0] == 3
    assert _vote("unanimous")[1] == -6, "a leaves on row 4 (the 5th), filled on the 6th"
    assert _vote("majority")[:1] == [1], "two of three"
    assert _vote("weighted", threshold=0.5) == [0, -6], "a alone has 3 of 5"
    assert _vote("sequential", within=2) == [3, -10], "c begins two bars after b; it ends with c"
    assert _vote("sequential", within=1) == [], "c is too late after b"


SIGNAL_ROWS = [
    ("a", "ai:x", "2024-01-02T00:35:00", "BUY", 0.9, 9.0, 12.0, None),
    ("a", "ai:x", "2024-01-04T00:00:00", "SELL", 0.2, None, None, None),
    ("a", "ai:x", "2024-01-06T00:00:00", "SELL", 0.9, None, None, "2024-06-01"),
    ("a", "ai:y", "2024-01-02T00:00:00", "SELL", 1.0, None, None, None),
    ("b", "ai:x", "2024-01-01T00:00:00", "BUY", 0.9, None, None, None),
]
FOLLOW = "type: external\nsignal: 'ai:x'\nmin_confidence: 0.5\nsizing: {method: equal}\n"


def test_a_signal_joins_at_the_first_open_at_which_it_can_be_acted_on() -> None:
    result = _run(FOLLOW, _history([[10.0] * 8, [10.0] * 8]), signals=signal_frame(SIGNAL_ROWS))
    assert result.trades["instrument_id"].tolist() == ["a"], "b's was there before any bar could decide"
    assert _days(result, "entry_date") == ["01-03"], "from 00:35 on the 2nd: too late for that day's open"
    assert _days(result, "exit_date") == ["01-06"], "the unsure SELL and the other model's are not followed"
    assert result.is_in_sample, "a model trained until June spoke of January"


def test_a_composite_of_a_model_that_knew_the_time_is_in_sample_too() -> None:
    members = (strategy_of(HEAD + FOLLOW), _member("ma", "long", "a"))
    told = {"id": "both", "version": 1, "universe": "all", "type": "composite", "vote": "unanimous"}
    spec = CompositeStrategy.model_validate(
        {**told, "sizing": {"method": "equal"}, "members": [{"strategy": one.strategy_id} for one in members]}
    )
    history, signals = _history([[10.0] * 8], a=[[1.0] * 8]), signal_frame(SIGNAL_ROWS)
    assert plan(Strategy(spec, members), history, signals).is_in_sample
    assert not plan(Strategy(spec, members), history, signals.iloc[:2]).is_in_sample


def test_stops_and_targets_that_a_signal_names_are_taken() -> None:
    result = _run(FOLLOW, _history([[10, 10, 10, 11, 13, 13, 13, 13.0]]), signals=signal_frame(SIGNAL_ROWS[:1]))
    assert result.trades["exit_reason"].tolist() == ["target"]
    assert result.trades["exit_price"].tolist() == [12.0]
    text, first = FOLLOW + "use_levels: false\nhold_bars: 2\n", signal_frame(SIGNAL_ROWS[:1])
    own = _run(text, _history([[10.0] * 8]), signals=first)
    assert own.trades["bars_held"].tolist() == [2]


def test_a_strategy_of_signals_is_not_run_without_any() -> None:
    with pytest.raises(ValueError, match="none are given"):
        _run(FOLLOW, _history([[10.0] * 8]))


def test_days_on_which_allocations_act() -> None:
    dates = np.datetime64("2024-01-30") + np.arange(70)
    assert acting_rows(dates, "monthly", 1).tolist() == [1, 2, 31, 62]
    assert acting_rows(dates, "once", 3).tolist() == [3]
    assert acting_rows(dates, "quarterly", 0).tolist() == [0, 62]
    assert acting_rows(dates, "weekly", 0).tolist()[:3] == [0, 6, 13]


def test_buy_and_hold_buys_equal_parts_at_the_first_open_and_never_trades_again() -> None:
    history = _history([[10, 10, 20, 20.0], [5, 5, 5, 10.0], [nan, nan, 7, 7.0]])
    result = _run("type: allocation\nrebalance: once\n", history)
    assert result.trades["quantity"].tolist() == pytest.approx([50.0, 100.0])
    assert result.equity["equity"].iloc[-1] == pytest.approx(2000.0)
    assert result.equity["equity"].tolist() == pytest.approx(result.equity["buy_and_hold"].tolist())


def test_sixty_forty_comes_back_to_its_shares() -> None:
    history = _history([[10, 10, 20, 20, 20.0]])
    result = _run("type: allocation\ninvested: 0.6\nrebalance: daily\n", history)
    exposure = (result.equity["exposure"] / result.equity["equity"]).tolist()
    assert exposure[1] == pytest.approx(0.6)
    assert exposure[2] == pytest.approx(1200 / 1600)
    assert exposure[3] == pytest.approx(0.6)
    named = _run("type: allocation\nweights: {a: 0.6, b: 0.4}\n", _history([[10.0] * 4, [5.0] * 4]))
    assert named.trades["quantity"].tolist() == pytest.approx([60.0, 80.0])
    with pytest.raises(ValueError, match="no bars of"):
        _run("type: allocation\nweights: {z: 0.6}\n", history)


def test_momentum_holds_the_greatest_and_cash_where_none_qualifies() -> None:
    rank = [[0.1, 0.1, 0.3, -1, -1, -1], [0.2, 0.2, 0.1, -1, -1, -1.0]]
    history = _history([[10.0] * 6, [10.0] * 6], return_20=rank)
    text = "type: allocation\nrank: return_20\ntop: 1\nwhen: {col: return_20, op: gt, value: 0}\nrebalance: daily\n"
    result = _run(text, history)
    assert result.trades["instrument_id"].tolist() == ["b", "a"]
    assert result.equity["exposure"].iloc[-1] == 0.0


def test_a_volatility_target_scales_down_and_never_up() -> None:
    history = _history([[10.0] * 4, [10.0] * 4], realised_vol_20=[[0.3] * 4, [0.1] * 4])
    result = _run("type: allocation\nvolatility_target: 0.15\n", history)
    assert result.trades["quantity"].tolist() == pytest.approx([25.0, 50.0])
    inverse = _run("type: allocation\nweights: inverse_volatility\n", history)
    assert inverse.trades["quantity"].tolist() == pytest.approx([25.0, 75.0])


def test_accumulation_buys_for_the_same_amount_until_cash_is_gone() -> None:
    result = _run("type: accumulation\nevery: daily\nshare: 0.4\n", _history([[10, 10, 10, 10, 10, 10.0]]))
    assert result.equity["cash"].tolist() == pytest.approx([1000, 600, 200, 0, 0, 1000])


def test_chance_enters_by_its_seed() -> None:
    text = "type: random\nseed: {seed}\nsizing: {{method: equal}}\n"
    history = random_walk(1, 200, 2, ())
    ends = [_run(text.format(seed=seed), history).equity["equity"].iloc[-1] for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


def test_half_kelly_stays_between_nothing_and_its_cap() -> None:
    from defiyield_assets.domain.strategies.amounts import kelly_share
    from defiyield_assets.domain.strategies.language import HalfKellySizing
    from defiyield_assets.domain.strategies.state import Record

    sizing = HalfKellySizing(method="half_kelly", cap=0.25, start=0.05, min_trades=10)
    assert kelly_share(sizing, Record(9, 9, 1.0, 0.0)) == 0.05
    assert kelly_share(sizing, Record(10, 6, 0.6, 0.4)) == pytest.approx(0.5 * (0.6 - 0.4 / 1.0))
    assert kelly_share(sizing, Record(10, 9, 9.0, 0.1)) == 0.25
    assert kelly_share(sizing, Record(10, 2, 0.1, 0.9)) == 0.0
    assert kelly_share(sizing, Record(10, 0, 0.0, 0.9)) == 0.0


def test_greater_ranks_are_filled_first_where_cash_or_places_are_short() -> None:
    text = (
        "sizing: {method: fixed, share: 0.8}\nmax_positions: 1\nrank: score\n"
        "rules: [{enter: {col: go, op: eq, value: 1}}]\n"
    )
    flags = [[1, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0.0]]
    history = _history([[10.0] * 4] * 3, go=flags, score=[[1.0] * 4, [3.0] * 4, [nan] * 4])
    result = _run(text, history)
    assert result.trades["instrument_id"].tolist() == ["b"]
    assert result.refusals == {"max_positions": 2}


def test_levels_by_atr_swing_and_reward_lie_where_they_say() -> None:
    text = (
        "sizing: {{method: fixed, share: 0.5}}\nrules:\n"
        "  - {{side: {side}, enter: {{col: go, op: eq, value: 1}}, stop: {stop}, target: {target}}}\n"
    )
    go = [[0, 1, 0, 0.0]]
    history = _history([[9, 10, 10, 10.0]], go=go, atr_14=[[0.5] * 4])

    def levels(side: str, stop: str, target: str) -> tuple[float, float]:
        from defiyield_assets.domain.strategies.levels import stop_level, target_level

        made = plan(strategy_of(HEAD + text.format(side=side, stop=stop, target=target)), history)
        entry = made.at(1).entries[0]
        assert entry.stop is not None
        assert entry.target is not None
        level = stop_level(entry.stop, 10.0, entry.side)
        return level, target_level(entry.target, 10.0, entry.side, level)

    assert levels("long", "{atr: 2}", "{risk_reward: 3}") == (9.0, 13.0)
    assert levels("short", "{atr: 2}", "{atr: 4}") == (11.0, 8.0)
    assert levels("long", "{swing: 2}", "{pct: 0.2}") == (9.0, 12.0)
    assert levels("long", "{fixed: 9.5}", "{risk_reward: 2}") == (9.5, 11.0)
