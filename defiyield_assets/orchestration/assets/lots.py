"""Assets of lots: what is held by when and for how much it was acquired, and what was gained when it went.

Lives here: wiring of domain/ledger/lots.py. Not here: the books (ledger.py), what holdings are worth (treasury.py).
"""

from collections.abc import Collection, Iterator
from datetime import date
from itertools import groupby

import dagster as dg
import pandas as pd
from sqlalchemy import Engine

from defiyield_assets.domain.days import DayRange
from defiyield_assets.domain.ledger.accounts import ASSETS_PREFIX, AddressBook
from defiyield_assets.domain.ledger.lot_legs import TokenKey
from defiyield_assets.domain.ledger.lots import LotBook, asset_balances, fold
from defiyield_assets.domain.ledger.tables import LEDGER_POSTINGS, OPEN_LOTS, REALISED_GAINS, make_frame
from defiyield_assets.domain.ledger.valuation import Prices, exact_sum
from defiyield_assets.errors import SuspiciousDataError
from defiyield_assets.orchestration.closing import BEGINNING
from defiyield_assets.orchestration.declarations import daily_tables, tell_progress
from defiyield_assets.orchestration.partitions import YESTERDAY, day_before, single_day
from defiyield_assets.orchestration.policies import DAY_BY_DAY
from defiyield_assets.orchestration.reporting import report
from defiyield_assets.orchestration.resources import WarehouseResource
from defiyield_assets.store import reads, schema, writes

SHOWN = 20


@daily_tables(
    "lots",
    {
        schema.open_lots: (
            "What is held of trusted tokens, in wallets and pools together, by when and for how much it was acquired. "
            "The lots of a token add up to its asset accounts, to the unit."
        ),
        schema.realised_gains: (
            "What was given away on the day, lot by lot: proceeds at the day's close, cost and gain. Negative amounts "
            "are taken back by a correction."
        ),
    },
    group="ledger",
    phase=2,
    spec="ledger.md",
    backfill=DAY_BY_DAY,
    deps=["ledger_postings", "trial_balance", "pool_contracts", "policy_snapshot"],
    own_past={schema.open_lots: YESTERDAY, schema.realised_gains: YESTERDAY},
)
def lot_tables(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource
) -> tuple[dg.MaterializeResult, dg.MaterializeResult]:
    """Advance yesterday's lots by the day's postings; tokens whose lots are not those of the books start over."""
    day, engine = single_day(context), warehouse.engine
    only = DayRange.of(day)
    book, started_over, history = _book_of_yesterday(warehouse, day)
    gains, notes = book.advance(day, reads.read_days(engine, schema.ledger_postings, only))
    _require_complete(engine, book, day)
    lots = book.open_lots(day)
    for key in started_over:
        own = history[(history["chain_id"] == key.chain_id) & (history["token_address"] == key.token)]
        where = {"chain_id": key.chain_id, "token_address": key.token}
        past = DayRange(BEGINNING, day_before(day))
        writes.replace_slice(engine, schema.realised_gains, own.reset_index(drop=True), past, where)
    gain_receipt = writes.replace_slice(engine, schema.realised_gains, gains, only)
    lot_receipt = writes.replace_slice(engine, schema.open_lots, lots, only)
    known = [gain for gain in gains["gain_usd"] if gain is not None]
    for note in notes:
        context.log.warning("%s", note)
    return (
        report(
            lot_receipt,
            lots,
            asset=schema.open_lots.name,
            tokens=int(lots["token_address"].nunique()),
            without_cost=int(lots["cost_usd"].isna().sum()),
            started_over=[f"{key.token} on chain {key.chain_id}" for key in started_over] or None,
            notes=list(notes[:SHOWN]) or None,
        ),
        report(
            gain_receipt,
            gains,
            asset=schema.realised_gains.name,
            gain_usd=float(exact_sum(known)),
            without_gain=len(gains) - len(known),
        ),
    )


def _book_of_yesterday(warehouse: WarehouseResource, day: date) -> tuple[LotBook, list[TokenKey], pd.DataFrame]:
    """Yesterday's lots, the tokens that were folded anew from their first posting, and the gains of these until then.

    Stored lots are believed when they add up to the trial balance; otherwise (the first run, a token that was approved
    today, an earlier day that was booked again) the token starts over.
    """
    engine, before = warehouse.engine, day_before(day)
    policy, past = warehouse.policy(day), DayRange(BEGINNING, day_before(day))
    prices, addresses = Prices(policy.token_by_address(), {}, {}), AddressBook.of(policy, warehouse.contracts(day))

    def is_tracked(chain_id: int, token: str) -> bool:
        return prices.is_trusted(chain_id, token) and addresses.pool_of_share(chain_id, token) is None

    book = LotBook(is_tracked, method=policy.parameters.lot_method, choices=policy.lot_choices)
    book.load(reads.read_days(engine, schema.open_lots, DayRange.of(before)), make_frame(REALISED_GAINS, []))
    wrong = _differences(engine, book, before)
    book.forget(wrong)
    history = fold(book, _postings_by_day(engine, past, wrong)) if wrong else make_frame(REALISED_GAINS, [])
    corrected = _corrected_tokens(engine, day) - {key.token for key in wrong}
    if corrected:
        taken = reads.read_days(engine, schema.realised_gains, past, where={"token_address": sorted(corrected)})
        book.load(make_frame(OPEN_LOTS, []), taken)
    return book, wrong, history


def _corrected_tokens(engine: Engine, day: date) -> set[str]:
    """Tokens that the day's postings correct something of."""
    names = ("token_address", "corrects")
    rows = reads.read_days(engine, schema.ledger_postings, DayRange.of(day), columns=names)
    return set(rows.loc[rows["corrects"].notna(), "token_address"])


def _differences(engine: Engine, book: LotBook, day: date) -> list[TokenKey]:
    """Tokens whose lots do not add up to the asset accounts at the end of the day."""
    books, lots = asset_balances(reads.trial_balance(engine, day, ASSETS_PREFIX)), book.held()
    keys = sorted(key for key in {*books, *lots} if book.counts(key))
    return [key for key in keys if books.get(key, 0) != lots.get(key, 0)]


def _require_complete(engine: Engine, book: LotBook, day: date) -> None:
    """SuspiciousDataError when the lots of the day do not add up to its books."""
    wrong = _differences(engine, book, day)
    if wrong:
        listed = ", ".join(f"{key.token} on chain {key.chain_id}" for key in wrong[:5])
        raise SuspiciousDataError(
            f"the lots of {day} do not add up to the asset accounts of trial_balance for {listed}; nothing was "
            f"written: materialise ledger_postings of the day again, then open_lots"
        )


def _postings_by_day(engine: Engine, days: DayRange, keys: Collection[TokenKey]) -> Iterator[tuple[date, pd.DataFrame]]:
    """The postings of some tokens, day by day, of which the warehouse hands out one day at a time."""
    rows = reads.stream_days(
        engine,
        schema.ledger_postings,
        days,
        columns=LEDGER_POSTINGS,
        order=("date",),
        where={"token_address": sorted({key.token for key in keys})},
    )
    chain_id, token = LEDGER_POSTINGS.index("chain_id"), LEDGER_POSTINGS.index("token_address")
    own = (row for row in rows if (row[chain_id], row[token]) in keys)
    for day, group in groupby(own, key=lambda row: row[LEDGER_POSTINGS.index("date")]):
        tell_progress("lots", f"{day}")
        yield day, make_frame(LEDGER_POSTINGS, group)
