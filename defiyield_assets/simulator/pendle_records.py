"""A market of Pendle as a simulated market knows it.

Lives here: the plain record. Not here: which ones there are (generated_catalogue.py) or Pendle's wire format.
"""

from dataclasses import dataclass
from datetime import date

from defiyield_assets.domain.canonical import stable_address
from defiyield_assets.domain.policy import Token


@dataclass(frozen=True)
class PendleMarket:
    """One market: `name` is the wrapped token's symbol; addresses are lower case, all on Ethereum."""

    name: str
    address: str
    opened: date
    expiry: date
    principal_token: str
    yield_token: str
    standardised_yield: str
    underlying: str

    @classmethod
    def of(cls, seed: int, token: Token, opened: date, expiry: date) -> "PendleMarket":
        """The market of a token and a maturity."""
        key = f"{seed}|{token.symbol}|{expiry}"
        return cls(
            name=token.symbol,
            address=stable_address("pendle market", key),
            opened=opened,
            expiry=expiry,
            principal_token=stable_address("pendle pt", key),
            yield_token=stable_address("pendle yt", key),
            standardised_yield=stable_address("pendle sy", f"{seed}|{token.symbol}"),
            underlying=token.address,
        )

    @property
    def principal_name(self) -> str:
        """The principal token as Pendle names it, such as PT-sUSDe-25SEP2025."""
        return f"PT-{self.name}-{self.expiry.strftime('%d%b%Y').upper()}"
