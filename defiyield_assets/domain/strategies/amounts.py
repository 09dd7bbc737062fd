"""How much an entry buys: each sizing's quantity under the bounds of cash and of a position's greatest share.

Lives here: quantities. Not here: how sizing is written (language.py), fills (engine.py).
"""

from math import floor, isnan, nan

from defiyield_assets.domain.strategies.costs import CostModel
from defiyield_assets.domain.strategies.language import (
    EqualSizing,
    FixedSizing,
    HalfKellySizing,
    RiskSizing,
    Sizing,
    VolatilitySizing,
)
from defiyield_assets.domain.strategies.state import Record


def quantity(
    sizing: Sizing,
    *,
    price: float,
    stop: float,
    volatility: float,
    equity: float,
    buying_power: float,
    n_places: int,
    record: Record,
    costs: CostModel,
    whole_units: bool,
    held: float = 0.0,
) -> float:
    """Units of an entry at `price` (costs of the spread in it): the method's, at most what cash and max_position allow.

    min(method, cash / (price · (1 + fee)), (max_position · equity − held) / price), `held`: value of the instrument
    that other rules hold on the same side. 0 where the method's input is unknown.
    """
    if isinstance(sizing, HalfKellySizing):
        wanted = kelly_share(sizing, record) * equity / price
    else:
        place = equity / n_places
        wanted = _wanted(sizing, price=price, stop=stop, volatility=volatility, place=place, equity=equity)
    if isnan(wanted):
        return 0.0
    room = (sizing.max_position * equity - held) / price
    found = min(wanted, room, affordable(buying_power, price, costs))
    return float(floor(found)) if whole_units and found > 0 else max(found, 0.0)


def affordable(cash: float, price: float, costs: CostModel) -> float:
    """Units that cash pays for, fee included."""
    return max(0.0, min(cash / (price * (1.0 + costs.fee)), (cash - costs.min_fee) / price))


def _wanted(sizing: Sizing, *, price: float, stop: float, volatility: float, place: float, equity: float) -> float:
    """Units that a method asks for that needs no record; NaN where it cannot tell. `place`: equity of one place."""
    if isinstance(sizing, RiskSizing):
        return sizing.risk * equity / abs(price - stop)
    if isinstance(sizing, FixedSizing):
        return (sizing.amount if sizing.amount is not None else (sizing.share or 0.0) * equity) / price
    if isinstance(sizing, EqualSizing):
        return place / price
    if isinstance(sizing, VolatilitySizing):
        return place * min(1.0, sizing.target / volatility) / price if volatility > 0 else nan
    return nan


def kelly_share(sizing: HalfKellySizing, record: Record) -> float:
    """Half of W − (1 − W) / R (Kelly 1956), W share of winning trades, R mean gain over mean loss; from 0 to cap."""
    if record.trades < sizing.min_trades:
        return sizing.start
    losses = record.trades - record.wins
    if losses == 0:
        return sizing.cap
    if record.wins == 0 or record.lost == 0.0:
        return 0.0 if record.wins == 0 else sizing.cap
    share = record.wins / record.trades
    ratio = (record.won / record.wins) / (record.lost / losses)
    return min(sizing.cap, max(0.0, 0.5 * (share - (1.0 - share) / ratio)))
