"""`share_rates`: what shares are worth as the chain itself tells it.

Lives here: which shares are asked about, the table's rows, what a position takes from them. Not here: asking the node
(sources/erc4626.py), the rest of a position (positions.py), whether rates agree (position_checks.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

import pandas as pd

from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.tables import SHARE_RATES, make_frame

ERC4626 = "erc4626"
REBASING = "rebasing"


@dataclass(frozen=True)
class ShareToken:
    """The one share token of a pool."""

    address: str
    decimals: int
    is_rebasing: bool


def share_tokens(contracts: pd.DataFrame) -> dict[tuple[int, str], ShareToken]:
    """(chain_id, pool_id) -> its share token from `pool_contracts`, for pools that have exactly one on the chain."""
    found: dict[tuple[int, str], set[ShareToken]] = {}
    columns = (contracts[name] for name in ("chain_id", "pool_id", "share_token", "share_decimals", "is_rebasing"))
    for chain_id, pool_id, address, decimals, is_rebasing in zip(*columns, strict=True):
        token = ShareToken(str(address).lower(), int(decimals), bool(is_rebasing))
        found.setdefault((int(chain_id), pool_id), set()).add(token)
    return {at: next(iter(tokens)) for at, tokens in found.items() if len(tokens) == 1}


@dataclass(frozen=True, order=True)
class ShareQuestion:
    """How much underlying do these shares of a wallet stand for?"""

    chain_id: int
    wallet: str
    share_token: str
    pool_id: str
    shares: int


def share_questions(balances: pd.DataFrame, contracts: pd.DataFrame, chain_id: int) -> list[ShareQuestion]:
    """The shares on one chain that a node can be asked about: held by `daily_balances`, not rebasing (those need none).

    Whether a pool has one underlying token only its contract says: the others refuse the question.
    """
    pools = {
        (chain, token.address): pool_id
        for (chain, pool_id), token in share_tokens(contracts).items()
        if chain == chain_id and not token.is_rebasing
    }
    columns = (balances[name] for name in ("chain_id", "wallet", "token_address", "balance"))
    return sorted(
        ShareQuestion(chain, wallet, token, pools[chain, token], held)
        for chain, wallet, token, held in zip(*columns, strict=True)
        if (chain, token) in pools and held > 0
    )


@dataclass(frozen=True)
class ShareAnswer:
    """Underlying base units that the asked shares stand for at a block."""

    question: ShareQuestion
    token: str
    assets: int
    block_number: int
    observed_at: datetime


def share_rates(day: date, answers: Iterable[ShareAnswer]) -> pd.DataFrame:
    """Rows of `share_rates` of a day, in key order."""
    rows = (
        (
            day,
            answer.question.chain_id,
            answer.question.wallet,
            answer.question.share_token,
            answer.question.pool_id,
            answer.token,
            answer.question.shares,
            answer.assets,
            answer.block_number,
            ERC4626,
            answer.observed_at,
        )
        for answer in sorted(answers, key=lambda answer: answer.question)
    )
    return make_frame(SHARE_RATES, rows)


class ToldRates:
    """What the chain told by day, wallet and share token."""

    def __init__(self, rates: pd.DataFrame) -> None:
        """`rates` are rows of `share_rates`."""
        names = ("date", "chain_id", "wallet", "share_token", "token_address", "shares", "assets")
        self._told: dict[tuple[date, int, str, str], tuple[str, int, int]] = {
            (day, chain_id, wallet, share): (token, shares, assets)
            for day, chain_id, wallet, share, token, shares, assets in zip(*(rates[n] for n in names), strict=True)
            if shares > 0
        }

    def worth(self, day: date, holding: Holding, share: ShareToken, token: str, shares: int) -> int | None:
        """Base units of the token that these shares stand for at the end of the day; None when the chain was not asked
        about them, or told of another token.

        Exactly the answer for the shares that were asked about, its proportional part (rounded down) for others.
        """
        told = self._told.get((day, holding.chain_id, holding.wallet, share.address))
        if told is None or told[0] != token:
            return None
        _, asked, assets = told
        return assets if asked == shares else assets * shares // asked
