"""What base units are worth: exact decimals from daily closes, for trusted tokens only.

Lives here: prices by (token, day), trust, and exact decimal sums; this is where float closes become Decimal. Not here:
which close is right (domain/prices) or what is held (balances.py, positions.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow, localcontext

import pandas as pd

from defiyield_assets.domain.chains import CHAINS, is_native_trusted, name_or_none
from defiyield_assets.domain.gas.sources import prevailing_fees
from defiyield_assets.domain.ledger.accounts import NATIVE, NATIVE_DECIMALS
from defiyield_assets.domain.policy import Policy, Token
from defiyield_assets.errors import SuspiciousDataError

EXACT = Context(prec=4000, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Products and sums of money are exact or an error; nothing is rounded on the way."""
RATIO = Context(prec=60)
ZERO = Decimal(0)


def tidy(value: Decimal) -> Decimal:
    """The same number in its one canonical spelling: no trailing zeros, no positive exponent."""
    plain = value.normalize(EXACT)
    if plain == 0:
        return ZERO
    return plain.quantize(Decimal(1), context=EXACT) if plain.as_tuple().exponent > 0 else plain  # type: ignore[operator]


def exact_sum(values: Iterable[Decimal]) -> Decimal:
    """Sum without rounding."""
    with localcontext(EXACT):
        return tidy(sum(values, ZERO))


def exact_value(amount: int, decimals: int, price: Decimal) -> Decimal:
    """amount / 10^decimals * price, without rounding."""
    return tidy(EXACT.multiply(EXACT.scaleb(Decimal(amount), -decimals), price))


def decimal_closes(frame: pd.DataFrame, key: str, value: str) -> dict[tuple[str, date], Decimal]:
    """Floats of a price column as Decimal(repr(float)), by (key, date); null, infinite and NaN are left out."""
    rows = zip(frame[key], frame["date"], frame[value], strict=True)
    closes = ((name, day, Decimal(repr(float(close)))) for name, day, close in rows if pd.notna(close))
    return {(name, day): close for name, day, close in closes if close.is_finite()}


def eth_prices(gas_fees_daily: pd.DataFrame) -> dict[date, Decimal]:
    """ETH price in USD by day from the rows of `gas_fees_daily` that have one: of the source that counts among them the
    first by kind.
    """
    known = prevailing_fees(gas_fees_daily[gas_fees_daily["eth_price_usd"].notna()])
    ordered = known.sort_values(["date", "kind"], kind="stable").drop_duplicates("date")
    return {day: price for (_, day), price in decimal_closes(ordered.assign(key="eth"), "key", "eth_price_usd").items()}


def with_values(postings: pd.DataFrame) -> pd.DataFrame:
    """The postings, which must all have a value; SuspiciousDataError names one that was booked without a close."""
    unvalued = postings[postings["valued_usd"].isna()]
    if len(unvalued):
        first = unvalued.iloc[0]
        raise SuspiciousDataError(
            f"{len(unvalued)} postings of {first['date']} have no value in dollars: no close was known when they were "
            f"booked (first: token {first['token_address']} in {first['tx_hash']}); book that day again"
        )
    return postings


@dataclass(frozen=True)
class Prices:
    """Closes in USD of trusted tokens by day. Trusted: on the policy's approved list, or native ETH."""

    tokens: Mapping[tuple[str, str], Token]
    closes: Mapping[tuple[str, date], Decimal]
    eth: Mapping[date, Decimal]
    _found: dict[tuple[int, str], Token | None] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Tokens that were looked up: every leg of a history asks several times."""

    @classmethod
    def of(cls, policy: Policy, bars: pd.DataFrame, eth: Mapping[date, Decimal]) -> "Prices":
        """Prices from `daily_bars` (columns instrument_id, date, close) and the ETH price by day (see eth_prices)."""
        return cls(policy.token_by_address(), decimal_closes(bars, "instrument_id", "close"), dict(eth))

    def token(self, chain_id: int, address: str) -> Token | None:
        """The approved token at this address, None when it is not on the list."""
        at = (chain_id, address)
        if at not in self._found:
            self._found[at] = self.tokens.get((name_or_none(chain_id) or "", address))
        return self._found[at]

    def is_trusted(self, chain_id: int, address: str) -> bool:
        """Whether the token counts in dollars: approved, or the native coin of a chain where that is ETH."""
        return is_native_trusted(chain_id) if address == NATIVE else self.token(chain_id, address) is not None

    def decimals(self, chain_id: int, address: str, claimed: int) -> int:
        """Decimals from our list for trusted tokens, as claimed for others: a spoofed claim changes no value."""
        if address == NATIVE:
            return CHAINS[chain_id].native_decimals if chain_id in CHAINS else NATIVE_DECIMALS
        token = self.token(chain_id, address)
        return int(claimed) if token is None else token.decimals

    def symbol(self, chain_id: int, address: str) -> str | None:
        """Our symbol, None for untrusted tokens."""
        if address == NATIVE:
            return CHAINS[chain_id].native_symbol if is_native_trusted(chain_id) else None
        token = self.token(chain_id, address)
        return None if token is None else token.symbol

    def known_close(self, chain_id: int, address: str, day: date) -> Decimal | None:
        """Close of a trusted token, to show it; None for untrusted ones and where none is known."""
        token = self.token(chain_id, address)
        if token is not None:
            return self.closes.get((token.instrument_id, day))
        return self.eth.get(day) if self.is_trusted(chain_id, address) else None

    def close(self, chain_id: int, address: str, day: date) -> Decimal | None:
        """Close of a trusted token; None for untrusted ones. No close: SuspiciousDataError with token and day."""
        if not self.is_trusted(chain_id, address):
            return None
        token = self.token(chain_id, address)
        close = self.eth.get(day) if token is None else self.closes.get((token.instrument_id, day))
        if close is None:
            name = (
                "ETH (gas_fees_daily.eth_price_usd)"
                if token is None
                else f"{token.symbol} (daily_bars {token.instrument_id})"
            )
            raise SuspiciousDataError(
                f"no close of {name} on {day.isoformat()}: it is held, and no price is ever assumed"
            )
        return close

    def value(self, chain_id: int, address: str, amount: int, day: date) -> Decimal:
        """Value in USD of base units at the day's close; exactly 0 for untrusted tokens and for nothing."""
        close = self.close(chain_id, address, day) if amount else None
        return ZERO if close is None else exact_value(amount, self.decimals(chain_id, address, 0), close)

    def known_value(self, chain_id: int, address: str, amount: int, day: date) -> Decimal | None:
        """As `value`, but None where no close of a trusted token is known."""
        if not amount or not self.is_trusted(chain_id, address):
            return ZERO
        close = self.known_close(chain_id, address, day)
        return None if close is None else exact_value(amount, self.decimals(chain_id, address, 0), close)
