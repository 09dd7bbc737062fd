"""`pool_positions`: what we hold in each pool at the end of a day, to the base unit.

Lives here: the step from one day's positions to the next, from scratch or from stored rows, and the rate that a day
ends with. Not here: what transactions do (replay.py), growth (rates.py), what the chain tells (share_rates.py).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import pandas as pd

from defiyield_assets.domain.ledger.accounts import POOL_PREFIX, AddressBook
from defiyield_assets.domain.ledger.classify import Holding
from defiyield_assets.domain.ledger.rates import KnownApys, accrue
from defiyield_assets.domain.ledger.replay import PoolLeg, Position, Positions, apply_day, pool_legs
from defiyield_assets.domain.ledger.share_rates import REBASING, ShareToken, ToldRates, share_tokens
from defiyield_assets.domain.ledger.tables import POOL_POSITIONS, SHARE_RATES, make_frame
from defiyield_assets.domain.ledger.valuation import RATIO, Prices, tidy
from defiyield_assets.domain.policy import Policy

CHAIN, MINT_RATIO, APY_GROWTH = "chain", "mint_ratio", "apy_growth"


@dataclass(frozen=True)
class _World:
    """What a day's step knows beside its transactions."""

    shares: dict[tuple[int, str], ShareToken]
    apys: KnownApys
    rates: ToldRates


@dataclass
class _Books:
    """Positions as they stand, decimals of their tokens, and the holdings whose shares are the underlying today."""

    positions: Positions
    decimals: dict[tuple[int, str], int]
    rebasing: frozenset[Holding] = frozenset()


def pool_positions(
    postings: pd.DataFrame,
    *,
    policy: Policy,
    contracts: pd.DataFrame,
    apys: pd.DataFrame,
    prices: Prices,
    day: date,
    rates: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`pool_positions` of one day from all postings up to it: one row per wallet, pool and underlying token.

    Every day from the first posting on: what was booked on the day, in its order, then growth by `accrue` at the day's
    APY. A deposit adds and a withdrawal subtracts the chain's integers; where a pool has one underlying token and its
    mint or burn shows another rate than we thought, all shares have that rate from then on. The last share takes
    everything along; shares that move between wallets or pools take their part. Corrections of earlier days have grown
    since their block.

    What the chain tells comes first: a rebasing share is its underlying, and a pool with one underlying token is worth
    what `rates` (rows of `share_rates`; None: nobody was asked) say of the day. `apys` has columns pool_id, date, apy
    (fraction): for each day the value that was known at the end of that day; a day without one grows at the last known
    before it, and not at all when there is none.

    `exchange_rate` is underlying per share base unit to 60 digits; `rate_source` is rebasing, chain (as the node told
    it `rate_age_days` ago, grown since), mint_ratio on the day of a mint or burn, and apy_growth after it. Shares whose
    underlying nobody knows have no row. A held trusted token without a close: SuspiciousDataError.
    """
    by_day = pool_legs(postings, AddressBook.of(policy, contracts))
    world = _world(contracts, apys, rates)
    books = _Books({}, {})
    for today in _days(min(by_day, default=day), day):
        _advance(books, by_day.get(today, []), world, today)
    return make_frame(POOL_POSITIONS, _rows(books, prices, day))


def advance_positions(
    previous: pd.DataFrame,
    postings: pd.DataFrame,
    *,
    trial_balance: pd.DataFrame,
    policy: Policy,
    contracts: pd.DataFrame,
    apys: pd.DataFrame,
    prices: Prices,
    day: date,
    rates: pd.DataFrame | None = None,
) -> pd.DataFrame:
    """`pool_positions` of a day from those of the day before and the day's postings: the rows of `pool_positions`.

    `previous` are the stored rows of the day before, `trial_balance` the newest row of every pool account before the
    day (they hold all shares, those without known underlying too). `apys` reach back to the last known value of each
    pool and, for corrections in `postings`, to the days that they correct; `rates` hold the day's.
    """
    book = AddressBook.of(policy, contracts)
    world = _world(contracts, apys, rates)
    books = _stored(previous, trial_balance, book)
    _advance(books, pool_legs(postings[postings["date"] == day], book).get(day, []), world, day)
    return make_frame(POOL_POSITIONS, _rows(books, prices, day))


def _world(contracts: pd.DataFrame, apys: pd.DataFrame, rates: pd.DataFrame | None) -> _World:
    told = make_frame(SHARE_RATES, []) if rates is None else rates
    return _World(share_tokens(contracts), KnownApys(apys), ToldRates(told))


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=at) for at in range((last - first).days + 1))


def _stored(previous: pd.DataFrame, trial_balance: pd.DataFrame, book: AddressBook) -> _Books:
    """Positions as the day before left them."""
    positions: Positions = {}
    names = ("chain_id", "wallet", "account", "pool_id", "token_address", "balance")
    for chain_id, wallet, account, pool_id, token, balance in zip(*(trial_balance[n] for n in names), strict=True):
        is_share = account.startswith(POOL_PREFIX) and book.pool_of_share(chain_id, token) is not None
        if is_share and balance:
            position = positions.setdefault(Holding(chain_id, wallet, pool_id), Position(share_token=token))
            position.shares += balance
    decimals: dict[tuple[int, str], int] = {}
    for row in previous.to_dict("records"):
        holding, token = Holding(row["chain_id"], row["wallet"], row["pool_id"]), row["token_address"]
        decimals[holding.chain_id, token] = row["decimals"]
        if holding in positions:
            position = positions[holding]
            position.share_token = row["share_token"]
            position.underlying[token] = row["underlying_amount"]
            seen_on = row["date"] - timedelta(days=row["rate_age_days"])
            position.see(seen_on, is_by_call=row["rate_source"] == CHAIN)
    return _Books(positions, decimals)


def _advance(books: _Books, legs: list[PoolLeg], world: _World, day: date) -> None:
    """One day: its transactions, its growth, and what the chain says at its end."""
    books.decimals |= {(leg.holding.chain_id, leg.token): leg.decimals for leg in legs}
    apply_day(legs, books.positions, world.apys, day)
    rebasing = set()
    for holding, position in books.positions.items():
        apy = world.apys.of(holding.pool_id, day)
        position.underlying = {token: accrue(amount, apy) for token, amount in position.underlying.items()}
        if _observe(position, holding, books, world, day) == REBASING:
            rebasing.add(holding)
        if not position.underlying:
            position.seen_on, position.is_seen_by_call = None, False
    books.positions = {holding: position for holding, position in books.positions.items() if position.shares}
    books.rebasing = frozenset(rebasing)


def _observe(position: Position, holding: Holding, books: _Books, world: _World, day: date) -> str | None:
    """What the chain itself tells of a position with one underlying token replaces what we thought; its source."""
    share = world.shares.get((holding.chain_id, holding.pool_id))
    if share is None or share.address != position.share_token or len(position.underlying) != 1 or position.shares <= 0:
        return None
    (token,) = position.underlying
    if share.is_rebasing and share.decimals == books.decimals[holding.chain_id, token]:
        position.underlying[token] = position.shares
        position.see(day)
        return REBASING
    told = world.rates.worth(day, holding, share, token, position.shares)
    if told is None:
        return None
    position.underlying[token] = told
    position.see(day, is_by_call=True)
    return CHAIN


def _rows(books: _Books, prices: Prices, day: date) -> Iterable[tuple[object, ...]]:
    for holding, position in sorted(books.positions.items(), key=lambda item: item[0]):
        if position.shares <= 0:
            continue
        seen_on = position.seen_on or day
        for token, amount in sorted(position.underlying.items()):
            yield (
                day,
                holding.chain_id,
                holding.wallet,
                holding.pool_id,
                token,
                position.share_token,
                position.shares,
                tidy(RATIO.divide(Decimal(amount), Decimal(position.shares))),
                _source(position, day, is_rebasing=holding in books.rebasing),
                (day - seen_on).days,
                amount,
                books.decimals[holding.chain_id, token],
                prices.close(holding.chain_id, token, day) if amount else None,
                prices.value(holding.chain_id, token, amount, day),
            )


def _source(position: Position, day: date, *, is_rebasing: bool) -> str:
    """Where the rate of the day's end comes from."""
    if is_rebasing:
        return REBASING
    if position.is_seen_by_call:
        return CHAIN
    return MINT_RATIO if (position.seen_on or day) == day else APY_GROWTH
