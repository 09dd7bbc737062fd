"""The language of strategies: what a file in config/strategies may say, as models from which its JSON Schema is made.

Lives here: sizing, stops, targets, indicators and the kinds of strategies. Not here: conditions (conditions.py), checks
against columns, warm-ups and other strategies (checking.py), reading files (config/strategies.py), meaning (plans.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from defiyield_assets.domain.strategies.conditions import Bars, ColumnName, Condition, Strict

Share = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Side = Literal["long", "short"]
Identifier = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
Rebalance = Literal["once", "daily", "weekly", "monthly", "quarterly"]


def _keyed(*keys: str) -> Discriminator:
    """Tells models apart by the key that only one of them has."""

    def kind(value: Any) -> str | None:
        for key in keys:
            if (isinstance(value, dict) and key in value) or (isinstance(value, BaseModel) and hasattr(value, key)):
                return f"<{key}>"
        return None

    message = f"needs one of the keys {', '.join(keys)}"
    return Discriminator(kind, custom_error_type="unknown_kind", custom_error_message=message)


def _named(key: str, names: Sequence[str], default: str | None = None) -> Discriminator:
    """Tells models apart by the name that stands at a key."""

    def kind(value: Any) -> str | None:
        told = value.get(key, default) if isinstance(value, dict) else getattr(value, key, None)
        return f"<{told}>" if told in names else None

    message = f"needs {key}: one of {', '.join(names)}"
    return Discriminator(kind, custom_error_type="unknown_kind", custom_error_message=message)


# --- how much ------------------------------------------------------------------------------------------------------
class Bounded(Strict):
    """Every sizing: no position beyond `max_position` of equity, nor beyond the cash there is."""

    max_position: Share = 1.0


class FixedSizing(Bounded):
    """The same for every entry: an amount of the account's currency, or a share of equity."""

    method: Literal["fixed"]
    amount: Positive | None = None
    share: Share | None = None

    @model_validator(mode="after")
    def _has_one(self) -> FixedSizing:
        if (self.amount is None) == (self.share is None):
            raise ValueError("fixed needs either amount (currency) or share (of equity)")
        return self


class EqualSizing(Bounded):
    """Equity over the places there are: `max_positions`, else the instruments of the run."""

    method: Literal["equal"]


class RiskSizing(Bounded):
    """So many units that the way from entry to stop costs `risk` of equity."""

    method: Literal["risk"]
    risk: Share


class VolatilitySizing(Bounded):
    """Each place's equal part of equity × target / the instrument's volatility (annual), at most that part."""

    method: Literal["volatility_target"]
    target: Positive
    col: ColumnName = "realised_vol_20"


class HalfKellySizing(Bounded):
    """Half of Kelly's share W − (1 − W)/R of this run's closed trades, at most `cap`; `start` until `min_trades`."""

    method: Literal["half_kelly"]
    cap: Share = 0.25
    start: Share = 0.05
    min_trades: Annotated[int, Field(ge=2)] = 20


SIZINGS = ("fixed", "equal", "risk", "volatility_target", "half_kelly")
Sizing = Annotated[
    Annotated[FixedSizing, Tag("<fixed>")]
    | Annotated[EqualSizing, Tag("<equal>")]
    | Annotated[RiskSizing, Tag("<risk>")]
    | Annotated[VolatilitySizing, Tag("<volatility_target>")]
    | Annotated[HalfKellySizing, Tag("<half_kelly>")],
    _named("method", SIZINGS),
]


# --- where out -----------------------------------------------------------------------------------------------------
class PercentLevel(Strict):
    """A fraction of the entry price away."""

    pct: Annotated[float, Field(gt=0, lt=10)]


class AtrLevel(Strict):
    """So many average true ranges, as of the decision, away from the entry price."""

    atr: Positive
    col: ColumnName = "atr_14"


class FixedLevel(Strict):
    """A price."""

    fixed: Positive


class SwingLevel(Strict):
    """The lowest low (of a short: the highest high) of the last bars, the decision's among them."""

    swing: Bars


class RewardLevel(Strict):
    """So many times as far from the entry price as the stop."""

    risk_reward: Positive


Stop = Annotated[
    Annotated[PercentLevel, Tag("<pct>")]
    | Annotated[AtrLevel, Tag("<atr>")]
    | Annotated[FixedLevel, Tag("<fixed>")]
    | Annotated[SwingLevel, Tag("<swing>")],
    _keyed("pct", "atr", "fixed", "swing"),
]
Target = Annotated[
    Annotated[PercentLevel, Tag("<pct>")]
    | Annotated[AtrLevel, Tag("<atr>")]
    | Annotated[RewardLevel, Tag("<risk_reward>")],
    _keyed("pct", "atr", "risk_reward"),
]


# --- columns of a strategy's own -----------------------------------------------------------------------------------
class Indicator(Strict):
    """A column of the strategy's own: a statistic over the last bars of another.

    sma, ema (seeded by the first mean), highest, lowest, change (x / x₋ₙ − 1), deviation (standard, n − 1).
    `before_today`: the window ends at the bar before.
    """

    method: Literal["sma", "ema", "highest", "lowest", "change", "deviation"]
    bars: Bars
    col: ColumnName = "close"
    before_today: bool = False


# --- kinds of strategies -------------------------------------------------------------------------------------------
class Rule(Strict):
    """When to enter on one side and when to leave."""

    side: Side = "long"
    enter: Condition
    exit: Condition | None = None
    stop: Stop | None = None
    target: Target | None = None

    @model_validator(mode="after")
    def _has_risk(self) -> Rule:
        if isinstance(self.target, RewardLevel) and self.stop is None:
            raise ValueError("target risk_reward is measured by the stop, which is not given")
        return self


class Written(Strict):
    """What every strategy says."""

    id: Identifier
    version: Annotated[int, Field(ge=1)]
    description: str = ""
    universe: Identifier
    indicators: dict[Identifier, Indicator] = Field(default_factory=dict)


class Trading(Written):
    """Strategies that enter and leave single positions."""

    sizing: Sizing
    max_positions: Annotated[int, Field(ge=1)] | None = None
    rank: ColumnName | None = None
    """Entries of one bar are filled in descending order of this column; without it in the order of instruments."""


class SignalStrategy(Trading):
    """Rules over columns."""

    type: Literal["signal"] = "signal"
    rules: Annotated[tuple[Rule, ...], Field(min_length=1)]


class OneSided(Trading):
    """Strategies with one way in."""

    side: Side = "long"
    stop: Stop | None = None
    target: Target | None = None
    when: Condition | None = None
    """Entries only where this holds."""


class EventStrategy(OneSided):
    """In from `pre_days` calendar days before an event to `post_days` after it, of the instrument or the market."""

    type: Literal["event"]
    scope: Literal["instrument", "market"] = "instrument"
    pre_days: Annotated[int, Field(ge=0, le=365)]
    post_days: Annotated[int, Field(ge=0, le=365)]


class TimeWindow(Strict):
    """Dates of completed bars; what is left out does not restrict. Weekdays: 1 Monday … 7 Sunday."""

    months: tuple[Annotated[int, Field(ge=1, le=12)], ...] = ()
    days_of_month: tuple[Annotated[int, Field(ge=1, le=31)], ...] = ()
    weekdays: tuple[Annotated[int, Field(ge=1, le=7)], ...] = ()

    @model_validator(mode="after")
    def _restricts(self) -> TimeWindow:
        if not (self.months or self.days_of_month or self.weekdays):
            raise ValueError("a window needs months, days_of_month or weekdays")
        return self


class TimeWindowStrategy(OneSided):
    """In while the date of the completed bar is inside the window."""

    type: Literal["time_window"]
    window: TimeWindow


class Member(Strict):
    """Another strategy's vote. What a member wants is what its rules say; its stops and sizing are not asked."""

    strategy: Identifier
    weight: Positive = 1.0


class CompositeStrategy(OneSided):
    """In while members agree: all of them, more than half, more than `threshold` of the weights, or one after another.

    sequential: each member in the order of the list begins to want in within `within` bars after the one before it;
    out as soon as the last does not want in any more.
    """

    type: Literal["composite"]
    members: Annotated[tuple[Member, ...], Field(min_length=2)]
    vote: Literal["unanimous", "majority", "weighted", "sequential"]
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.5
    within: Bars = 10


class ExternalStrategy(Trading):
    """Follows signals of a model or of news: BUY opens a long, SELL closes it; with `allow_short` it opens a short."""

    type: Literal["external"]
    signal: str
    min_confidence: Annotated[float, Field(ge=0, le=1)] = 0.0
    valid_bars: Bars = 1
    hold_bars: Bars | None = None
    allow_short: bool = False
    use_levels: bool = True
    """Take stop and target of the signal where it tells them."""
    stop: Stop | None = None
    target: Target | None = None


class AllocationStrategy(Written):
    """Holds target weights and rebalances.

    Candidates: instruments with a bar (and where `when` holds); with `top`, those of the greatest `rank`. `weights`:
    equal among candidates, or inverse_volatility, or per instrument. `invested`: share of equity that the weights
    divide; the rest is cash. `volatility`: the invested share is scaled by target / annual volatility of each, never
    beyond. `band`: smaller changes, as a share of equity, are not traded.
    """

    type: Literal["allocation"]
    weights: Literal["equal", "inverse_volatility"] | dict[str, Share] = "equal"
    invested: Share = 1.0
    rebalance: Rebalance = "monthly"
    when: Condition | None = None
    rank: ColumnName | None = None
    top: Annotated[int, Field(ge=1)] | None = None
    volatility_target: Positive | None = None
    volatility_col: ColumnName = "realised_vol_20"
    band: Annotated[float, Field(ge=0, lt=1)] = 0.0

    @model_validator(mode="after")
    def _fits(self) -> AllocationStrategy:
        if isinstance(self.weights, dict) and sum(self.weights.values()) > 1.0 + 1e-9:
            raise ValueError(f"weights add up to {sum(self.weights.values()):g}, more than 1")
        if self.top is not None and self.rank is None:
            raise ValueError("top needs a rank to choose by")
        return self


class AccumulationStrategy(Written):
    """Buys for the same amount, `share` of the first capital, at every `every`; never sells."""

    type: Literal["accumulation"]
    every: Literal["daily", "weekly", "monthly"] = "monthly"
    share: Share
    when: Condition | None = None


class RandomStrategy(Trading):
    """Enters and leaves by chance: what any rule has to beat. The same seed gives the same decisions."""

    type: Literal["random"]
    seed: Annotated[int, Field(ge=0)]
    enter_probability: Share = 0.05
    exit_probability: Share = 0.05
    stop: Stop | None = None
    target: Target | None = None


KINDS: dict[str, type[Written]] = {
    "signal": SignalStrategy,
    "event": EventStrategy,
    "time_window": TimeWindowStrategy,
    "composite": CompositeStrategy,
    "external": ExternalStrategy,
    "allocation": AllocationStrategy,
    "accumulation": AccumulationStrategy,
    "random": RandomStrategy,
}


StrategySpec = (
    SignalStrategy
    | EventStrategy
    | TimeWindowStrategy
    | CompositeStrategy
    | ExternalStrategy
    | AllocationStrategy
    | AccumulationStrategy
    | RandomStrategy
)
StrategyFile = Annotated[
    Annotated[SignalStrategy, Tag("<signal>")]
    | Annotated[EventStrategy, Tag("<event>")]
    | Annotated[TimeWindowStrategy, Tag("<time_window>")]
    | Annotated[CompositeStrategy, Tag("<composite>")]
    | Annotated[ExternalStrategy, Tag("<external>")]
    | Annotated[AllocationStrategy, Tag("<allocation>")]
    | Annotated[AccumulationStrategy, Tag("<accumulation>")]
    | Annotated[RandomStrategy, Tag("<random>")],
    _named("type", tuple(KINDS), "signal"),
]
"""One file."""
