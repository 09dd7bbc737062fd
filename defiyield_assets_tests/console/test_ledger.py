"""The ledger in the console: balances, books, reconciliation, postings and their file.

Lives here: figures against the tables, filters against pandas, hostile texts, days to come. Not here: how the books
come about (domain/ledger).
"""

import csv
import io
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlencode

import pandas as pd
import pytest
import sqlalchemy as sa

from defiyield_assets.console.pages import ledger_postings
from defiyield_assets.store import schema
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, insert, require_harmless, words_of
from defiyield_assets_tests.installations import Loop

KEY = ["chain_id", "tx_hash", "kind", "ordinal", "leg"]


@pytest.fixture(scope="module")
def treasury(closed_loop: Loop, tmp_path_factory: pytest.TempPathFactory) -> Treasury:
    """Read only."""
    return Treasury(closed_loop, tmp_path_factory.mktemp("ledger"))


@pytest.fixture
def own(closed_loop: Loop, tmp_path: Path) -> Treasury:
    """To be changed."""
    return Treasury(closed_loop, tmp_path)


def test_every_balance_and_position_is_told_exactly(treasury: Treasury) -> None:
    """Base units, values and their sums, day by day."""
    for day in treasury.days:
        words = treasury.words(f"/ledger?date={day}")
        for table, column in ((schema.daily_balances, "balance"), (schema.pool_positions, "underlying_amount")):
            rows = treasury.rows(table).query("date == @day")
            for row in rows.to_dict("records"):
                assert str(row[column]) in words
                assert f"${row['value_usd']:,.2f}" in words or row["value_usd"] < Decimal("0.01")
            assert f"${sum(rows['value_usd']):,.2f}" in words


def test_net_asset_value_adds_up_in_print(treasury: Treasury) -> None:
    """The parts in every digit sum to the value in every digit, by the reader's own arithmetic."""
    nav = treasury.rows(schema.nav_daily).set_index("date")
    for before, day in zip(treasury.days, treasury.days[1:], strict=False):
        words, row = treasury.words(f"/ledger?date={day}"), nav.loc[day]
        moved = row["flows_usd"] + row["income_usd"] - row["expenses_usd"]
        opening = Decimal(nav.loc[before, "nav_usd"])
        explained = opening + moved + row["price_change_usd"] + row["unexplained_usd"]
        assert abs(explained - row["nav_usd"]) < Decimal("1e-15")
        assert "Both ways add up exactly" in words
        for name in ("flows_usd", "income_usd", "price_change_usd", "wallets_usd", "pools_usd", "eth_usd", "nav_usd"):
            assert f"{row[name]:f}" in words


def test_a_value_that_does_not_add_up_is_told(own: Treasury) -> None:
    """A digit too much in one part."""
    day = own.days[-1]
    nav = own.rows(schema.nav_daily).set_index("date").loc[day]
    raised = nav["income_usd"] + Decimal("0.5")
    own.change(sa.update(schema.nav_daily).where(schema.nav_daily.c.date == day).values(income_usd=raised))
    words = own.words(f"/ledger?date={day}")
    assert "It does not add up" in words
    assert "Not explained by the lines above -$0.50 -0.5" in words
    assert "rules of the ledger are broken" in words


def cost_table(words: str) -> str:
    """The split of a day's expenses on the overview."""
    return words[words.index("What the expenses of the day were") :].split("Each position", maxsplit=1)[0]


def test_the_overview_splits_expenses_exactly_and_holds_them_against_the_plan(treasury: Treasury) -> None:
    """By the postings of the day, with what single pools cost and what the plan of the day before reckoned with."""
    first, day = treasury.days[:2]
    paid = treasury.rows(schema.nav_daily).set_index("date").loc[day, "expenses_usd"]
    postings = treasury.rows(schema.ledger_postings).query("date == @day")
    gas, swaps = (postings[postings["account"] == one] for one in ("expenses:gas", "equity:conversions"))
    plan = treasury.rows(schema.allocation_runs).set_index("date").loc[first]
    pools = sum(treasury.rows(schema.yield_attribution).query("date == @day")["cost_usd"])
    paid_gas, paid_swaps = sum(gas["valued_usd"]), sum(swaps["valued_usd"])
    assert abs(paid_gas + paid_swaps - paid) < Decimal("1e-15")
    assert 0 < pools < paid
    words = treasury.words(f"/?date={day}")
    table = cost_table(words)
    assert f"Plan of {first} Gas ${paid_gas:,.2f} ${pools:,.2f} ${plan['gas_usd']:,.2f} " in table
    assert f"swaps ${paid_swaps:,.2f} $0.00 ${plan['conversion_usd']:,.2f} " in table
    planned = plan["gas_usd"] + plan["conversion_usd"]
    assert f"Expenses ${paid:,.2f} ${pools:,.2f} ${planned:,.2f} " in table
    assert f"takes in ${pools:,.2f}: what the transactions" in words
    assert f"The other ${paid - pools:,.2f} belong to no single pool" in words
    for kind, own in gas.groupby("classification"):
        assert f"{kind} ${sum(own['valued_usd']):,.2f}" in words


def test_expenses_that_the_postings_do_not_make_up_are_not_split(own: Treasury) -> None:
    """Nor where the value of one is unknown; a day without any has nothing to say."""
    day, table = own.days[1], schema.ledger_postings
    of_day = (table.c.date == day, table.c.account == "expenses:gas")
    own.change(sa.update(schema.nav_daily).where(schema.nav_daily.c.date == day).values(expenses_usd=Decimal(7)))
    assert "The expenses cannot be split" in own.words(f"/?date={day}")
    own.change(sa.update(table).where(*of_day).values(valued_usd=None))
    words = own.words(f"/?date={day}")
    assert "The expenses cannot be split" in words
    assert "What the expenses of the day were" not in words
    for quiet in (own.days[0], own.days[2]):
        words = own.words(f"/?date={quiet}")
        assert "What the expenses" not in words
        assert "cannot be split" not in words


def test_a_first_day_that_is_not_measured_says_so(treasury: Treasury) -> None:
    """Its accounts moved before: the trial balance has income that no figure of the day has."""
    first, second = treasury.days[:2]
    assert min(treasury.rows(schema.trial_balance)["date"]) < first
    told = f"{first} is the first day that the ledger values: nothing is measured on it"
    for path in ("/?", "/ledger?"):
        assert told in treasury.words(f"{path}date={first}")
        assert "is the first day that" not in treasury.words(f"{path}date={second}")
    assert "Nothing was booked" not in treasury.words(f"/ledger?date={first}")


def test_the_trial_balance_sums_to_zero(treasury: Treasury) -> None:
    """Newest rows up to the day, summed by pandas, and told so."""
    day = treasury.days[1]
    table = treasury.rows(schema.trial_balance).query("date <= @day").sort_values("date")
    newest = table.drop_duplicates(["chain_id", "account", "wallet", "counterparty", "token_address"], keep="last")
    kept = newest[newest["balance"] != 0]
    assert set(kept.groupby(["chain_id", "token_address"])["balance"].agg(lambda values: sum(values))) == {0}
    words = treasury.words(f"/ledger?date={day}")
    assert f"every one of {len(kept.groupby(['chain_id', 'token_address']))} tokens sums to zero" in words
    for balance in kept["balance"]:
        assert str(balance) in words


def test_a_difference_from_the_chain_is_told_in_base_units(own: Treasury) -> None:
    """One base unit too much on the chain, and a token that only the chain has."""
    day = own.days[-1]
    row = own.rows(schema.chain_balances).query("date == @day").iloc[0].to_dict()
    assert "balances agree with the chain to the base unit" in own.words(f"/ledger?date={day}")
    token = schema.chain_balances.c.token_address == row["token_address"]
    wallet = schema.chain_balances.c.wallet == row["wallet"]
    more = sa.update(schema.chain_balances).where(schema.chain_balances.c.date == day, token, wallet)
    own.change(more.values(balance=row["balance"] + 1))
    insert(own, schema.chain_balances, [{**row, "token_address": f"0x{'ab' * 20}", "balance": 77}])
    words = own.words(f"/ledger?date={day}")
    assert "2 of " in words
    assert f"{row['balance']} {row['balance'] + 1} -1 differs" in words
    assert "0 77 -77 differs" in words


def expected(treasury: Treasury, **asked: str) -> pd.DataFrame:
    """The postings that a filter asks for, by pandas."""
    rows, newest = treasury.rows(schema.ledger_postings), treasury.days[-1]
    rows = rows[rows["date"] <= newest] if asked.get("span") == "all" else rows[rows["date"] == newest]
    columns = {"tx": "tx_hash", "token": "token_address"}
    for name, value in asked.items():
        if name != "span":
            rows = rows[rows[columns.get(name, name)] == value]
    return rows


def filters(treasury: Treasury) -> list[dict[str, str]]:
    """Filters that find something, and one that does not."""
    row = treasury.rows(schema.ledger_postings).query("kind == 'token' and wallet.notna()").iloc[-1]
    of_row = {"account": row["account"], "wallet": row["wallet"], "token": row["token_address"], "kind": row["kind"]}
    of_row["classification"] = row["classification"]
    single = [{"span": "all", name: value} for name, value in of_row.items()]
    return [
        {},
        {"span": "all"},
        *single,
        {"span": "all", **of_row},
        {"span": "all", "tx": row["tx_hash"]},
        {"tx": "0x0"},
    ]


def test_filters_find_what_pandas_finds(treasury: Treasury) -> None:
    """In the file, with every digit, and as a count on the page."""
    for asked in filters(treasury):
        wanted = expected(treasury, **{"span": "day", **asked} if "tx" not in asked else {**asked, "span": "all"})
        told = list(csv.DictReader(io.StringIO(treasury.page(f"/ledger/postings.csv?{urlencode(asked)}"))))
        keys = {tuple(str(row[name]) for name in KEY): row for row in wanted.to_dict("records")}
        assert {tuple(row[name] for name in KEY) for row in told} == set(keys)
        assert len(told) == len(keys)
        for row in told:
            stored = keys[tuple(row[name] for name in KEY)]
            assert int(row["amount"]) == stored["amount"]
            assert row["valued_usd"] == ("" if stored["valued_usd"] is None else f"{stored['valued_usd']:f}")
        page = treasury.page(f"/ledger/postings?{urlencode(asked)}")
        assert f"{len(wanted):,} posting" in words_of(page)


def test_pages_hold_every_posting_once_newest_first(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages of seven rows, joined, are all postings."""
    monkeypatch.setattr(ledger_postings, "MOST", 7)
    rows = expected(treasury, span="all")
    found: list[str] = []
    for number in range(1, -(-len(rows) // 7) + 1):
        words = treasury.words(f"/ledger/postings?span=all&page={number}")
        found += words[words.index("base units are exact") :].split("sum to 0")[:-1]
    assert len(found) == len(rows)
    days = [next(word for word in row.split() if word.startswith("20")) for row in found]
    assert days == sorted(days, reverse=True)
    treasury.page("/ledger/postings?span=all&page=100000", 400)


def test_legs_that_do_not_sum_to_zero_are_told(own: Treasury) -> None:
    """One leg more by one base unit."""
    row = own.rows(schema.ledger_postings).query("kind == 'token'").iloc[0]
    table = schema.ledger_postings
    where = [table.c[name] == row[name] for name in KEY]
    own.change(sa.update(table).where(*where).values(amount=row["amount"] + 1))
    words = own.words(f"/ledger/postings?tx={row['tx_hash']}")
    assert "do not sum to zero" in words
    assert "sum to 1" in words


def test_transactions_lead_to_the_explorer_only_where_the_market_is_live(own: Treasury) -> None:
    """Ids of a simulated market are made up."""
    row = own.rows(schema.ledger_postings).query("kind == 'token'").iloc[0]
    assert "etherscan" not in own.page("/ledger/postings?span=all")
    live = own.on_market("live")
    assert f"https://etherscan.io/tx/{row['tx_hash']}" in live.get(f"/ledger/postings?tx={row['tx_hash']}").text


def test_a_file_that_is_cut_says_so(treasury: Treasury, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line tells how many there are."""
    monkeypatch.setattr(ledger_postings, "MOST_IN_FILE", 5)
    told = list(csv.reader(io.StringIO(treasury.page("/ledger/postings.csv?span=all"))))
    assert len(told) == 1 + 5 + 1
    assert f"cut: 5 of {len(expected(treasury, span='all'))} postings" in told[-1][1]


@pytest.mark.parametrize(
    "query", ["kind=nonsense", "classification=%3Cscript%3E", "span=year", "page=-1", "page=x", f"account={'x' * 300}"]
)
def test_wrong_questions_are_refused(treasury: Treasury, query: str) -> None:
    """With what would be right, escaped."""
    require_harmless(treasury.page(f"/ledger/postings?{query}", 400))
    if "page" not in query:
        treasury.page(f"/ledger/postings.csv?{query}", 400)


@pytest.mark.parametrize("text", HOSTILE[:3] + HOSTILE[4:])
def test_hostile_questions_come_back_as_text(treasury: Treasury, text: str) -> None:
    """A filter is shown in its form."""
    for name in ("account", "token", "wallet", "tx"):
        require_harmless(treasury.page(f"/ledger/postings?{urlencode({name: text})}"))


def test_hostile_names_stay_text(own: Treasury) -> None:
    """Tokens that call themselves so, hints, accounts."""
    day = own.days[-1]
    balances = own.rows(schema.daily_balances).query("date == @day").to_dict("records")
    for text, row in zip(HOSTILE, balances, strict=False):
        table = schema.daily_balances
        where = [table.c[name] == row[name] for name in ("date", "chain_id", "wallet", "token_address")]
        own.change(sa.update(table).where(*where).values(symbol=text))
    row = own.rows(schema.ledger_postings).query("date == @day").iloc[0]
    of_day = schema.ledger_postings.c.date == day
    own.change(sa.update(schema.ledger_postings).where(of_day).values(counterparty=HOSTILE[-1], account=HOSTILE[-1]))
    unexplained = {
        "date": day,
        "chain_id": 1,
        "booked_on": day,
        "amount": 1,
        "decimals": 0,
        "classification": HOSTILE[0],
    }
    for number, text in enumerate(HOSTILE):
        more = {"tx_hash": f"{number}{text}", "token_address": text, "hint": text, "counterparty": text, "symbol": text}
        insert(own, schema.unexplained_transactions, [{**unexplained, **more, "valued_usd": Decimal(0)}])
    require_harmless(own.page("/ledger"))
    require_harmless(own.page("/ledger/postings"))
    told = list(csv.DictReader(io.StringIO(own.page("/ledger/postings.csv"))))
    assert {cell["account"] for cell in told} == {f"'{HOSTILE[-1]}"}
    assert row["tx_hash"] in {cell["tx_hash"] for cell in told}


def test_later_days_change_no_earlier_page(own: Treasury) -> None:
    """Noise in every later row leaves a day's pages and files as they were."""
    day = own.days[1]
    paths = [f"/{path}date={day}" for path in ("ledger?", "ledger/postings?", "ledger/postings?span=all&")]
    paths.append(f"/ledger/postings.csv?span=all&date={day}")
    before = [own.page(path) for path in paths]
    for table, values in (
        (schema.ledger_postings, {"amount": 7, "account": "noise"}),
        (schema.trial_balance, {"balance": 7}),
        (schema.daily_balances, {"balance": 7, "symbol": "noise"}),
        (schema.chain_balances, {"balance": 9}),
        (schema.pool_positions, {"value_usd": Decimal(7)}),
        (schema.nav_daily, {"nav_usd": Decimal(7)}),
        (schema.open_lots, {"amount": 7}),
        (schema.realised_gains, {"gain_usd": Decimal(7)}),
    ):
        own.change(sa.update(table).where(table.c.date > day).values(**values))
    leg = own.rows(schema.ledger_postings).query("date == @day and kind == 'token'").iloc[0].to_dict()
    later = {**leg, "date": own.days[2], "kind": "correction", "amount": 7}
    insert(own, schema.ledger_postings, [later])
    assert [own.page(path) for path in paths] == before
