"""Everything that has a price: the policy's tokens and the instruments of the market part.

Lives here: ids, kinds, calendars and vendor ids of instruments, and which of them are listed on a day. Not here: the
files (config/instruments.py), prices (curation.py) or the verdict on a token (selection/registry.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Literal, get_args

import pandas as pd

from defiyield_assets.domain.policy import Token
from defiyield_assets.errors import ConfigurationError

InstrumentType = Literal["crypto", "equity", "etf", "index", "fx"]
INSTRUMENT_TYPES: tuple[str, ...] = get_args(InstrumentType)
STABLECOINS = "stablecoins"
"""The universe of the policy's tokens."""
ALWAYS_OPEN = "24x7"
INSTRUMENT_COLUMNS = (
    "instrument_id",
    "type",
    "universe",
    "symbol",
    "calendar",
    "chain",
    "address",
    "decimals",
    "cmc_id",
    "coingecko_id",
    "alpha_vantage_symbol",
    "price_scale",
    "benchmark",
    "listed_at",
    "delisted_at",
    "is_configured",
)


@dataclass(frozen=True)
class Instrument:
    """One instrument of the market part (config/instruments.yaml).

    `calendar`: 24x7 or an exchange's code. Vendors' quotes are divided by `price_scale`. `listed_at` is the first day;
    `delisted_at` the day after the last bar; None: unknown, or still listed.
    """

    symbol: str
    type: InstrumentType
    universe: str
    calendar: str
    name: str = ""
    cmc_id: int | None = None
    coingecko_id: str | None = None
    alpha_vantage_symbol: str | None = None
    price_scale: float = 1.0
    benchmark: str | None = None
    listed_at: date | None = None
    delisted_at: date | None = None

    @property
    def instrument_id(self) -> str:
        """`<type>:<symbol>`, the key in every table."""
        return f"{self.type}:{self.symbol}"

    def is_listed(self, day: date) -> bool:
        """Whether the instrument trades on the day (or would, on an open exchange)."""
        return (self.listed_at is None or self.listed_at <= day) and (
            self.delisted_at is None or day < self.delisted_at
        )


@dataclass(frozen=True)
class MarketUniverse:
    """The instruments of the market part and whose bar wins: `source_priority` by instrument type, first wins."""

    instruments: tuple[Instrument, ...]
    source_priority: dict[str, tuple[str, ...]]


def build_instruments(tokens: Iterable[Token], others: Iterable[Instrument] = ()) -> pd.DataFrame:
    """One `instruments` row per token (keyed `<chain>:<address>` in lower case) and per other instrument."""
    rows: list[tuple[object, ...]] = [
        (
            token.instrument_id,
            "crypto",
            STABLECOINS,
            token.symbol,
            ALWAYS_OPEN,
            token.chain,
            token.address,
            token.decimals,
            token.cmc_id,
            token.coingecko_id,
            None,
            1.0,
            None,
            None,
            None,
            True,
        )
        for token in tokens
    ]
    rows += [
        (
            one.instrument_id,
            one.type,
            one.universe,
            one.symbol,
            one.calendar,
            None,
            None,
            None,
            one.cmc_id,
            one.coingecko_id,
            one.alpha_vantage_symbol,
            one.price_scale,
            one.benchmark,
            one.listed_at,
            one.delisted_at,
            True,
        )
        for one in others
    ]
    frame = pd.DataFrame(sorted(rows, key=lambda row: str(row[0])), columns=list(INSTRUMENT_COLUMNS), dtype=object)
    return frame.astype({"price_scale": float, "is_configured": bool})


def twins(instruments: pd.DataFrame) -> list[str]:
    """In words: vendor ids that two instruments claim, such as a coin that is an approved token as well."""
    found = []
    for field in ("cmc_id", "coingecko_id", "alpha_vantage_symbol"):
        known = instruments[instruments[field].notna() & instruments["chain"].isna()]
        tokens = instruments[instruments[field].notna() & instruments["chain"].notna()]
        for name, value in zip(known["instrument_id"], known[field], strict=True):
            same = tokens.loc[tokens[field] == value, "instrument_id"]
            found += [f"{name} has the {field} {value} of the token {other}" for other in same]
    return found


def with_dropped(listed: pd.DataFrame, stored: pd.DataFrame) -> pd.DataFrame:
    """`listed` and the stored instruments that no file names any more, marked as not configured.

    Tokens are never marked: which of them are in force is what the policy of a day says. Raises ConfigurationError
    where a coin of instruments.yaml is an approved token too: one of both would be paid for twice.
    """
    doubled = twins(listed)
    if doubled:
        raise ConfigurationError(f"instruments.yaml: {'; '.join(doubled)}; list it in tokens.yaml only")
    gone = stored[~stored["instrument_id"].isin(set(listed["instrument_id"])) & stored["chain"].isna()]
    if gone.empty:
        return listed
    return pd.concat([listed, gone.assign(is_configured=False)], ignore_index=True)


def listed_on(instruments: pd.DataFrame, day: date) -> pd.DataFrame:
    """The rows of `instruments` that are configured and listed on the day."""
    started = instruments["listed_at"].map(lambda first: first is None or first <= day).astype(bool)
    ended = instruments["delisted_at"].map(lambda end: end is not None and end <= day).astype(bool)
    return instruments[instruments["is_configured"].astype(bool) & started & ~ended].reset_index(drop=True)


def periods_per_year(calendar: str) -> int:
    """Bars of a year by which daily figures are annualised: 365 where trade never stops, 252 on exchanges."""
    return 365 if calendar == ALWAYS_OPEN else 252
