"""`daily_balances`: what each wallet holds at the end of a day, token by token, as the trial balance says.

Lives here: wallet balances, share tokens and untrusted tokens included. Not here: what shares are worth (positions.py)
or whether the chain agrees (checks.py).
"""

from datetime import date

import pandas as pd

from defiyield_assets.domain.ledger.accounts import POOL_PREFIX, WALLET_PREFIX, AddressBook
from defiyield_assets.domain.ledger.tables import DAILY_BALANCES, make_frame
from defiyield_assets.domain.ledger.valuation import ZERO, Prices
from defiyield_assets.domain.policy import Policy


def daily_balances(
    trial_balance: pd.DataFrame, *, policy: Policy, contracts: pd.DataFrame, prices: Prices, day: date
) -> pd.DataFrame:
    """`daily_balances` of one day from the trial balance of that day (newest row of each account).

    Tokens of balance 0 have no row.

    Share tokens of known pools sit in the wallet on the chain, so they are listed by quantity, but count as untrusted
    and worth 0: their value is in `pool_positions`. A held trusted token without a close: SuspiciousDataError.
    """
    book = AddressBook.of(policy, contracts)
    totals: dict[tuple[int, str, str], int] = {}
    claimed: dict[tuple[int, str], int] = {}
    names = ("chain_id", "wallet", "account", "token_address", "balance", "decimals")
    for chain_id, wallet, account, token, amount, decimals in zip(*(trial_balance[n] for n in names), strict=True):
        is_share = book.pool_of_share(chain_id, token) is not None
        if account.startswith(POOL_PREFIX if is_share else WALLET_PREFIX):
            totals[chain_id, wallet, token] = totals.get((chain_id, wallet, token), 0) + amount
            claimed[chain_id, token] = max(decimals, claimed.get((chain_id, token), 0))
    rows = []
    for (chain_id, wallet, token), balance in sorted(totals.items()):
        if not balance:
            continue
        is_trusted = prices.is_trusted(chain_id, token) and book.pool_of_share(chain_id, token) is None
        rows.append(
            (
                day,
                chain_id,
                wallet,
                token,
                balance,
                prices.decimals(chain_id, token, claimed[chain_id, token]),
                prices.symbol(chain_id, token) if is_trusted else None,
                prices.close(chain_id, token, day) if is_trusted else None,
                prices.value(chain_id, token, balance, day) if is_trusted else ZERO,
                is_trusted,
            )
        )
    return make_frame(DAILY_BALANCES, rows)
