"""ETH in the coat of a token: wrapped ETH, whose deposits vendors leave out or tell the wrong way round.

Lives here: what a transaction really moved of a chain's coin and of the token that wraps it one to one. Not here: how
that is classified (classify.py) or booked (booking.py).
"""

from defiyield_assets.domain.ledger.accounts import NATIVE, ZERO_ADDRESS, AddressBook
from defiyield_assets.domain.ledger.transactions import Movement, Transaction

_PREDEPLOY = "0x4200000000000000000000000000000000000006"
WRAPPED = {
    1: "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
    10: _PREDEPLOY,
    56: "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
    100: "0xe91d153e0b41518a2ce8dd3d7944fa863463a97d",
    137: "0x0d500b1d8e8ef31e21c99d1db9a6444d3adf1270",
    8453: _PREDEPLOY,
    534352: "0x5300000000000000000000000000000000000004",
}
"""Contracts of the WETH9 kind by chain: coin paid in is owed to the payer as tokens, one to one. Such a deposit or
withdrawal is no ERC-20 Transfer: whether a vendor makes one of it, and in which direction, differs."""

COIN_AS_TOKEN = {10: "0xdeaddeaddeaddeaddeaddeaddeaddeaddead0000"}
"""Token under which a chain tells coin that its bridge created or destroyed (Optimism before Bedrock)."""


def as_it_happened(transaction: Transaction, book: AddressBook) -> Transaction:
    """The transaction with wrapped coin told once, in the right direction: beside the coin that was paid for it.

    Coin that one of our wallets pays to the wrapping contract creates as many tokens in it, coin that the contract pays
    out destroys as many; both movements bear the name (kind, ordinal) of the coin's. What a vendor told of tokens that
    were created for or destroyed by a wallet of ours is dropped then. Coin that a bridge told as a token is coin.
    """
    chain_id = transaction.chain_id
    wrapped, as_token = WRAPPED.get(chain_id), COIN_AS_TOKEN.get(chain_id)
    if not any(_concerns(move, wrapped, as_token) for move in transaction.movements):
        return transaction
    paid = [
        move
        for move in transaction.movements
        if move.token == NATIVE
        and (
            (move.receiver == wrapped and book.owns(chain_id, move.sender))
            or (move.sender == wrapped and book.owns(chain_id, move.receiver))
        )
    ]
    amounts = {move.value for move in paid}
    kept = []
    for move in transaction.movements:
        is_edge = ZERO_ADDRESS in (move.sender, move.receiver)
        if is_edge and move.token == wrapped and move.value in amounts:
            continue
        kept.append(move._replace(token=NATIVE) if is_edge and move.token == as_token else move)
    for move in paid:
        giver, taker = (ZERO_ADDRESS, move.sender) if move.receiver == wrapped else (move.receiver, ZERO_ADDRESS)
        kept.append(Movement(move.kind, move.ordinal, str(wrapped), giver, taker, move.value, move.decimals))
    return transaction._replace(movements=tuple(kept))


def _concerns(move: Movement, wrapped: str | None, as_token: str | None) -> bool:
    return (move.token == NATIVE and wrapped in (move.sender, move.receiver)) or move.token == as_token
