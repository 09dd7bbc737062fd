"""What is known of files of bars before they are read: clock, scale, units, and whose bars they hold.

Lives here: sources of csv_sources.yaml and which of them a file's name means, and which instrument a name means. Not
here: the configuration file (config/csv_sources.py), reading (sources/csv_bars.py).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal

import pandas as pd

from defiyield_assets.errors import ConfigurationError

VolumeUnit = Literal["units", "usd", "ticks"]
SYMBOL_PLACE = "{symbol}"
DOLLARS = ("USDT", "USDC", "BUSD", "USD")
"""Currencies that the name of a pair ends with and that are dollars here. Other pairs need a mapping."""
# fmt: off
CURRENCIES = frozenset(
    {
        "EUR", "GBP", "JPY", "CHF", "CAD", "AUD", "NZD", "CNY", "HKD", "SGD", "TWD", "KRW", "INR", "IDR", "PHP",
        "THB", "VND", "BRL", "MXN", "ARS", "TRY", "RUB", "UAH", "PLN", "CZK", "HUF", "SEK", "NOK", "DKK", "ZAR",
        "NGN", "ILS", "AED", "SAR", "EURC", "EURS", "EURT",
    }
)
# fmt: on
"""Currencies that are no dollar."""
_COINS = frozenset({"BTC", "XBT", "ETH", "BNB"})
"""Coins that others are quoted in."""
_BREAKS = re.compile(r"[-_ ,./:()]+")
_ENDING = re.compile(r"(\.(csv|txt))?(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class CsvSource:
    """One kind of file: what its rows do not say themselves.

    `files`: patterns of file names (`*`, `?`, and `{symbol}` where the name holds the symbol). `timezone`: the clock of
    stamps that name none (`UTC`, `UTC+03:30` or a place of the time zone database); None: such stamps are refused.
    `stamp`: whether a bar is stamped with its open or its close. Quotes divided by `price_scale` are USD.
    `interval`: as "5m" or "1d"; None: told by the rows' spacing. `instruments`: symbol or column of the file ->
    instrument id. `left_out`: columns of closes by symbol that are not imported. `is_adjusted`: whether closes are
    adjusted for splits and dividends; None: not told, which is no answer for shares. `volume_unit`: what an unnamed
    volume counts; ticks are no volume, and None leaves it out.
    """

    name: str
    files: tuple[str, ...] = ()
    timezone: str | None = None
    stamp: Literal["open", "close"] = "open"
    price_scale: float = 1.0
    interval: str | None = None
    is_adjusted: bool | None = None
    volume_unit: VolumeUnit | None = None
    instruments: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Match:
    """The source of a file, and the symbol in the file's name where the pattern has a place for it."""

    source: CsvSource
    symbol: str | None


UNNAMED = CsvSource("unnamed")
"""Files that no pattern knows: their stamps must name their clock themselves."""


def match_file(file_name: str, sources: Iterable[CsvSource]) -> Match:
    """The first source with a pattern that the file's name (without folders) fits; `UNNAMED` without one."""
    for source in sources:
        for pattern in source.files:
            found = _compiled(pattern).fullmatch(file_name)
            if found is not None:
                return Match(source, found.groupdict().get("symbol"))
    return Match(UNNAMED, None)


def matched(file_name: str, source: CsvSource) -> Match:
    """The file read as a source that was named by hand; its name need not fit."""
    told = match_file(file_name, [source])
    return Match(source, told.symbol)


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    """The pattern as an expression: * any text, ? one character, {symbol} what stands there, everything else itself."""
    parts = [re.escape(part).replace(r"\*", ".*").replace(r"\?", ".") for part in pattern.split(SYMBOL_PLACE)]
    return re.compile("(?P<symbol>[A-Za-z0-9.^ -]+?)".join(parts), re.IGNORECASE)


def symbol_of_name(file_name: str) -> str:
    """The symbol that a file's name begins with: AVAXUSD of AVAXUSD-5.csv.gz."""
    stem = _ENDING.sub("", file_name)
    return re.split(r"[-_ ,]", stem, maxsplit=1)[0]


def quote_behind(file_name: str, symbol: str, *, is_table: bool = False) -> str | None:
    """The currency, no dollar, that a file's name tells right behind a symbol: EUR of BTC-EUR.csv; None for none.

    `is_table`: closes of many instruments; in a name such as BTC_ETH.csv a second coin is one of them and no currency.
    """
    _, _, rest = _ENDING.sub("", file_name).upper().partition(symbol.upper())
    words = [word for word in _BREAKS.split(rest) if word]
    return words[0] if words and words[0] in (CURRENCIES if is_table else CURRENCIES | _COINS) else None


def quote_of_pair(symbol: str, instruments: pd.DataFrame) -> str | None:
    """The currency, no dollar, that an instrument is quoted in by a pair's name: EUR of BTCEUR or BTC/EUR."""
    for code in sorted(CURRENCIES | _COINS, key=len, reverse=True):
        base = symbol[: -len(code)].rstrip("-_/: ")
        if symbol.upper().endswith(code) and base and find_instrument(base, instruments, {}) is not None:
            return code
    return None


def find_instrument(symbol: str, instruments: pd.DataFrame, mapping: Mapping[str, str]) -> str | None:
    """The instrument that a symbol or column of a file means; None when there is none.

    In this order: the source's mapping; an instrument's id; its symbol; the symbol without a dollar behind it
    (BTCUSDT, BTC/USD); its id at a vendor. ConfigurationError where several instruments have the symbol.
    """
    known = set(instruments["instrument_id"])
    if symbol in mapping:
        if mapping[symbol] in known:
            return mapping[symbol]
        near = get_close_matches(mapping[symbol], sorted(known), n=1, cutoff=0.5)
        raise ConfigurationError(
            f"csv_sources.yaml maps {symbol!r} to {mapping[symbol]!r}, which is no instrument"
            + (f"; did you mean {near[0]!r}?" if near else "; add it to instruments.yaml")
        )
    if symbol in known:
        return symbol
    names = [symbol, *(symbol[: -len(end)].rstrip("-_/: ") for end in DOLLARS if symbol.upper().endswith(end))]
    for name in filter(None, names):
        for column in ("symbol", "coingecko_id", "alpha_vantage_symbol"):
            is_named = instruments[column].astype("string").str.upper() == name.upper()
            hits = sorted(instruments.loc[is_named.fillna(False), "instrument_id"])
            if len(hits) > 1:
                raise ConfigurationError(
                    f"{symbol!r} may be {' or '.join(hits)}: say which under `instruments` of the file's source in "
                    f"csv_sources.yaml"
                )
            if hits:
                return str(hits[0])
    return None


def unknown_instruments(symbols: Iterable[str], file_name: str) -> ConfigurationError:
    """The error of symbols that no instrument has: what to add where."""
    shown = [repr(symbol[:40]) for symbol in symbols]
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return ConfigurationError(
        f"{file_name}: no instrument is called {', '.join(shown[:12])}{more}. Add it to instruments.yaml in your "
        f"configuration folder (symbol, type, universe, calendar), or map it to one under `instruments` of the file's "
        f"source in csv_sources.yaml (columns that you do not want: `left_out`)"
    )


def foreign_quotes(file_name: str, code: str) -> ConfigurationError:
    """The error of a file whose quotes are no dollars: what to do."""
    return ConfigurationError(
        f"{file_name}: tells prices in {code}, and bars are in dollars. When its prices are dollars nevertheless, map "
        f"its symbol to an instrument under `instruments` of a source for it in csv_sources.yaml; nothing was written"
    )
