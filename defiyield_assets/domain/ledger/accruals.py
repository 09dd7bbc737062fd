"""Accruals of rebasing tokens and shares, whose balance grows in the wallet without a transfer.

Lives here: one dated posting a day up to the chain's balance. Not here: transfers (postings.py) or the growth of pool
positions whose shares stand still, which is never posted (positions.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Context

import pandas as pd

from defiyield_assets.domain.days import end_of
from defiyield_assets.domain.ledger.accounts import (
    ACCRUAL,
    CORRECTION,
    POOL_PREFIX,
    UNEXPLAINED,
    UNEXPLAINED_ACCOUNT,
    WALLET_PREFIX,
    YIELD_PREFIX,
)
from defiyield_assets.domain.ledger.rates import daily_factor
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.valuation import ZERO, Prices
from defiyield_assets.domain.policy import Policy

_WIDE = Context(prec=200)
_KEY = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]


@dataclass(frozen=True, order=True)
class _Balance:
    """One balance that may grow by itself: of a token in a wallet, or of a pool's shares."""

    chain_id: int
    wallet: str
    token: str
    pool_id: str

    @property
    def account(self) -> str:
        """Where it is booked."""
        return POOL_PREFIX + self.pool_id if self.pool_id else WALLET_PREFIX + self.wallet

    @property
    def income_account(self) -> str:
        """Where its growth comes from."""
        return YIELD_PREFIX + (self.pool_id or self.token)


@dataclass
class _Known:
    """What the ledger knows of a balance without the day's accrual; `held`: all that was there to grow."""

    amount: int = 0
    held: int = 0
    decimals: int = 0
    accrued_on: date | None = None
    blocks: tuple[int, ...] = ()


def accruals_of_day(
    day: date,
    *,
    before: pd.DataFrame,
    booked: pd.DataFrame,
    chain_balances: pd.DataFrame,
    policy: Policy,
    contracts: pd.DataFrame,
    prices: Prices,
    last_blocks: Mapping[int, int] | None = None,
) -> pd.DataFrame:
    """Accrual postings of the day, in key order: what the chain says beyond the ledger, per wallet and rebasing token.

    `before`: `trial_balance` as of the last closed day, newest row of each account. `booked`: all other postings since,
    corrections and openings included; those of other tokens may be left out. `chain_balances`: the day's; a wallet that
    was not asked about gets nothing, a token that it does not name has balance 0. Approved tokens marked `rebasing`
    accrue in the wallet against income:yield:<token>, at the day's close; shares of `pool_contracts` marked
    `is_rebasing` on the pool's account against income:yield:<pool_id>, worth 0 like all shares. With it ledger equals
    chain.

    What no rebase can be is not absorbed but goes to equity:unexplained: more, up or down, than `apy_plausible_max`
    yields since the last accrual on what was there to grow, before transfers took it away (never accrued before: than
    the balance), and anything where there was nothing.
    Kind `accrual`, transaction `accrual:<day>:<wallet>`. Growth hangs on the first block in which the balance moved on
    the day, because a burn takes along what has grown since midnight; else on the highest known (`last_blocks` by
    chain id).
    """
    pools = _pools_of_shares(contracts)
    known = _known_balances(day, before, booked, pools, prices)
    asked, told, claimed = _observed(chain_balances)
    for chain_id, wallet, token in told:
        at = _balance(chain_id, wallet, token, pools, prices)
        if at is not None:
            known.setdefault(at, _Known(decimals=claimed[chain_id, wallet, token]))
    rows: list[tuple[object, ...]] = []
    for at, ours in sorted(known.items(), key=lambda item: item[0]):
        if (at.chain_id, at.wallet) not in asked:
            continue
        delta = told.get((at.chain_id, at.wallet, at.token), 0) - ours.amount
        if delta:
            is_growth = abs(delta) <= _most(ours, day, policy.parameters.apy_plausible_max)
            block = _block(at, ours, delta, booked, last_blocks)
            rows += _rows(at, ours, delta, day, block, prices=prices, is_growth=is_growth)
    frame = make_frame(LEDGER_POSTINGS, rows)
    frame["ordinal"] = frame.groupby(["chain_id", "tx_hash", "leg"]).cumcount().astype("int64")
    return frame.sort_values(_KEY, kind="stable", ignore_index=True)


def _pools_of_shares(contracts: pd.DataFrame) -> dict[tuple[int, str], str]:
    """Pool of each rebasing share token."""
    columns = (contracts[name] for name in ("chain_id", "share_token", "pool_id", "is_rebasing"))
    return {(int(chain), token.lower()): pool for chain, token, pool, rebases in zip(*columns, strict=True) if rebases}


def _balance(
    chain_id: int, wallet: str, token: str, pools: Mapping[tuple[int, str], str], prices: Prices
) -> _Balance | None:
    """The balance of a wallet when it may grow by itself, else None."""
    pool_id = pools.get((chain_id, token))
    if pool_id is not None:
        return _Balance(chain_id, wallet, token, pool_id)
    approved = prices.token(chain_id, token)
    return _Balance(chain_id, wallet, token, "") if approved is not None and approved.rebasing else None


def _known_balances(
    day: date, before: pd.DataFrame, booked: pd.DataFrame, pools: Mapping[tuple[int, str], str], prices: Prices
) -> dict[_Balance, _Known]:
    """Every balance that may grow, by the trial balance and the postings since."""
    known: dict[_Balance, _Known] = {}
    names = ("chain_id", "account", "wallet", "token_address", "balance", "decimals", "date")
    for chain_id, account, wallet, token, amount, decimals, moved_on in zip(*(before[n] for n in names), strict=True):
        at = _balance(chain_id, wallet, token, pools, prices) if wallet else None
        if at is not None and account in (at.account, at.income_account):
            ours = known.setdefault(at, _Known(decimals=decimals))
            if account == at.account:
                ours.amount += amount
                ours.held += amount
            else:
                ours.accrued_on = moved_on
    moves = ("chain_id", "account", "wallet", "token_address", "amount", "decimals")
    own_blocks = booked["block_number"].where((booked["date"] == day) & (booked["kind"] != CORRECTION), 0)
    for chain_id, account, wallet, token, amount, decimals, block in zip(
        *(booked[n] for n in moves), own_blocks, strict=True
    ):
        at = _balance(chain_id, wallet, token, pools, prices) if isinstance(wallet, str) else None
        if at is not None and account == at.account:
            ours = known.setdefault(at, _Known(decimals=decimals))
            ours.amount += amount
            ours.held += max(amount, 0)
            ours.blocks = (*ours.blocks, block) if block else ours.blocks
    return known


def _observed(
    chain_balances: pd.DataFrame,
) -> tuple[set[tuple[int, str]], dict[tuple[int, str, str], int], dict[tuple[int, str, str], int]]:
    """Wallets that were asked about, and the balance and decimals that the chain claims, by wallet and token."""
    names = ("chain_id", "wallet", "token_address", "balance", "decimals")
    rows = list(zip(*(chain_balances[name] for name in names), strict=True))
    asked = {(chain_id, wallet) for chain_id, wallet, *_ in rows}
    told = {(chain_id, wallet, token): balance for chain_id, wallet, token, balance, _ in rows}
    claimed = {(chain_id, wallet, token): int(decimals) for chain_id, wallet, token, _, decimals in rows}
    return asked, told, claimed


def _most(ours: _Known, day: date, apy: float) -> int:
    """The largest rebase since the last accrual that can be believed, in base units; one is rounding."""
    if ours.accrued_on is None:
        return abs(ours.amount)
    held = max(ours.held, abs(ours.amount))
    factor = _WIDE.power(daily_factor(apy), (day - ours.accrued_on).days)
    return int(_WIDE.multiply(held, _WIDE.subtract(factor, 1))) + 1 if held else 0


def _block(at: _Balance, ours: _Known, delta: int, booked: pd.DataFrame, last_blocks: Mapping[int, int] | None) -> int:
    """The block that an accrual hangs on."""
    if ours.blocks:
        return min(ours.blocks) if delta > 0 else max(ours.blocks)
    days_blocks: Iterable[int] = booked.loc[booked["chain_id"] == at.chain_id, "block_number"]
    return max([(last_blocks or {}).get(at.chain_id, 0), *(int(block) for block in days_blocks)])


def _rows(
    at: _Balance, ours: _Known, delta: int, day: date, block: int, *, prices: Prices, is_growth: bool
) -> list[tuple[object, ...]]:
    """Both legs of an accrual."""
    counter = at.income_account if is_growth else UNEXPLAINED_ACCOUNT
    legs = ((at.account, at.wallet, delta), (counter, at.wallet if is_growth else None, -delta))
    return [
        (
            at.chain_id,
            f"accrual:{day.isoformat()}:{at.wallet}",
            ACCRUAL,
            0,
            number,
            day,
            block,
            end_of(day) - pd.Timedelta(seconds=1),
            account,
            wallet,
            None,
            at.token,
            amount,
            prices.decimals(at.chain_id, at.token, ours.decimals),
            ZERO if at.pool_id else prices.known_value(at.chain_id, at.token, amount, day),
            ACCRUAL if is_growth else UNEXPLAINED,
            at.pool_id or None,
            False,
            None,
        )
        for number, (account, wallet, amount) in enumerate(legs)
    ]
