"""One transaction booked alone, to see what the ledger makes of it.

Lives here: booking a transaction whose history nobody knows. Not here: the rules (classify.py, booking.py), drawing the
result (cli/ledger.py).
"""

from collections.abc import Callable

import pandas as pd

from defiyield_assets.domain.ledger.accounts import AddressBook
from defiyield_assets.domain.ledger.booking import Bookkeeper, Leg
from defiyield_assets.domain.ledger.transactions import Movement, read_transactions
from defiyield_assets.domain.ledger.wrapping import as_it_happened

_ELSEWHERE = "elsewhere"
"""Who gave the wallets what they must have held before; no address is spelled so."""


def explain_alone(
    frame: pd.DataFrame, book: AddressBook, is_trusted: Callable[[int, str], bool]
) -> list[tuple[str, list[Leg]]]:
    """Hash and legs of every transaction of an `account_transactions` frame, each as if it was the first ever seen.

    Its wallets are given before what they give away in it: an untrusted token that a wallet never got is otherwise not
    believed to have left it. Shares of listed pools have no basis then, so their withdrawal is no yield.
    """
    explained = []
    for transaction in read_transactions(frame, book):
        chain_id = transaction.chain_id
        given = [move for move in as_it_happened(transaction, book).movements if book.owns(chain_id, move.sender)]
        before = tuple(
            Movement("token", place, move.token, _ELSEWHERE, move.sender, move.value, move.decimals)
            for place, move in enumerate(given)
        )
        keeper = Bookkeeper(book, is_trusted)
        keeper.book(transaction._replace(tx_hash=_ELSEWHERE, movements=before, gas=()))
        explained.append((transaction.tx_hash, list(keeper.book(transaction))))
    return explained
