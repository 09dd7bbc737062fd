"""Accruals of rebasing tokens, whose balance grows in the wallet without a transfer.

Lives here: one dated posting a day up to the chain's balance. Not here: transfers (postings.py) or the growth of pool
positions, which is never posted (positions.py).
"""

from datetime import date

import pandas as pd

from defiyield_assets.domain.days import DayRange, end_of
from defiyield_assets.domain.ledger.accounts import ACCRUAL, WALLET_PREFIX, YIELD_PREFIX
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, make_frame
from defiyield_assets.domain.ledger.valuation import Prices


def build_accruals(
    postings: pd.DataFrame, chain_balances: pd.DataFrame, *, prices: Prices, days: DayRange | None = None
) -> pd.DataFrame:
    """Accrual postings of the days (None: all) for approved tokens marked `rebasing`, in key order.

    `postings` are all postings from transfers (accruals of earlier days are computed again, not read), `chain_balances`
    all observed balances. On each observed day the wallet gets what the chain says beyond transfers and earlier
    accruals, against income:yield:<token address>; a rebase downwards is negative income. The posting hangs on the last
    block that we know of the day: kind `accrual`, transaction `accrual:<day>:<wallet>`. With it ledger equals chain.
    """
    rows = []
    accrued: dict[tuple[int, str, str], int] = {}
    observed = chain_balances.sort_values(["date", "chain_id", "wallet", "token_address"], kind="stable")
    columns = (observed[name] for name in ("date", "chain_id", "wallet", "token_address", "balance"))
    for day, chain_id, wallet, token, balance in zip(*columns, strict=True):
        approved = prices.token(chain_id, token)
        if approved is None or not approved.rebasing:
            continue
        at = (chain_id, wallet, token)
        delta = balance - _transferred(postings, day, *at) - accrued.get(at, 0)
        accrued[at] = accrued.get(at, 0) + delta
        if delta and (days is None or day in days):
            rows += _accrual_rows(postings, at, delta, day, prices)
    frame = make_frame(LEDGER_POSTINGS, rows)
    frame["ordinal"] = frame.groupby(["chain_id", "tx_hash", "leg"]).cumcount().astype("int64")
    return frame.sort_values(["chain_id", "tx_hash", "kind", "ordinal", "leg"], kind="stable", ignore_index=True)


def _transferred(postings: pd.DataFrame, day: date, chain_id: int, wallet: str, token: str) -> int:
    """Balance of a wallet at the end of a day from transfers alone."""
    mine = (
        (postings["chain_id"] == chain_id)
        & (postings["account"] == WALLET_PREFIX + wallet)
        & (postings["token_address"] == token)
        & (postings["date"] <= day)
    )
    return sum(postings.loc[mine, "amount"])


def _accrual_rows(
    postings: pd.DataFrame, at: tuple[int, str, str], delta: int, day: date, prices: Prices
) -> list[tuple[object, ...]]:
    chain_id, wallet, token = at
    known = postings.loc[(postings["chain_id"] == chain_id) & (postings["date"] <= day), "block_number"]
    block = int(known.max()) if len(known) else 0
    when = end_of(day) - pd.Timedelta(seconds=1)
    legs = ((WALLET_PREFIX + wallet, delta), (YIELD_PREFIX + token, -delta))
    return [
        (
            chain_id,
            f"accrual:{day.isoformat()}:{wallet}",
            ACCRUAL,
            0,
            number,
            day,
            block,
            when,
            account,
            wallet,
            token,
            amount,
            prices.decimals(chain_id, token, 0),
            prices.value(chain_id, token, amount, day),
            ACCRUAL,
            None,
            False,
            None,
        )
        for number, (account, amount) in enumerate(legs)
    ]
