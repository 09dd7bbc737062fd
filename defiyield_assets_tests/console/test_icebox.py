"""The icebox in the console: barred tokens, bands, events, overrides.

Lives here: figures against the tables and the policy, hostile texts, days to come. Not here: the rules
(domain/selection/icebox.py).
"""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from defiyield_assets.store import schema
from defiyield_assets_tests.console.lab_states import HOSTILE, Treasury, insert, require_harmless
from defiyield_assets_tests.installations import Loop


@pytest.fixture
def own(closed_loop: Loop, tmp_path: Path) -> Treasury:
    """To be changed."""
    return Treasury(closed_loop, tmp_path)


def test_barred_tokens_are_told_with_their_bands(own: Treasury) -> None:
    """Depths and bands by the reader's own arithmetic, good days against those that the policy asks for."""
    for day in own.days:
        words = own.words(f"/icebox?date={day}")
        (text,) = own.rows(schema.policy_snapshot).query("date == @day")["policy_json"]
        limits = json.loads(text)["parameters"]
        barred = own.rows(schema.icebox).query("date == @day").to_dict("records")
        assert barred, "the simulated market has a token that loses its peg"
        assert f"Barred at the end of {day}" in words
        for row in barred:
            reference = row["reference_price"]
            assert f"{row['symbol']} {row['since']} ${reference:,.6f} ${row['last_low']:,.6f}" in words
            assert f"{100 * (1 - row['last_low'] / reference):,.2f}%" in words
            assert f"{100 * (1 - row['last_close'] / reference):,.2f}%" in words
            assert f"${reference * (1 - limits['icebox_low_depth']):,.6f}" in words
            assert f"${reference * (1 - limits['icebox_close_depth']):,.6f}" in words
            assert f"{row['good_lows']} of {limits['icebox_recovery_low_days']}" in words
            assert f"{row['good_closes']} of {limits['icebox_recovery_close_days']}" in words


def test_charts_show_the_closes_of_barred_tokens(own: Treasury) -> None:
    """Every close up to the day is in the chart's table; none after it."""
    day = own.days[1]
    row = own.rows(schema.icebox).query("date == @day").iloc[0]
    name = f"{row['chain'].lower()}:{row['address']}"
    bars = own.rows(schema.daily_bars)
    bars = bars[(bars["instrument_id"] == name) & (bars["date"] <= day)]
    words = own.words(f"/icebox?date={day}")
    chart = words[words.index(f"{row['symbol']}, barred since {row['since']}") :]
    for bar in bars[bars["date"] > day - timedelta(days=60)].to_dict("records"):
        assert f"{bar['date']} ${bar['close']:,.6f}" in chart
    assert str(own.days[2]) not in words


def test_every_price_is_told_finely_enough_to_stand_beside_its_band(own: Treasury) -> None:
    """In the chart's sentence, at its points and in its table: two decimals would tell close and band as one."""
    day = own.days[-1]
    row = own.rows(schema.icebox).query("date == @day").iloc[0]
    name = f"{row['chain'].lower()}:{row['address']}"
    bars = schema.daily_bars
    close, band = 0.985025, 0.99
    own.change(sa.update(schema.icebox).where(schema.icebox.c.date == day).values(reference_price=1.0))
    own.change(sa.update(bars).where(bars.c.instrument_id == name, bars.c.date == day).values(close=close))
    page = own.page("/icebox")
    assert f"The last close, of {day}, is ${close:.6f}; the band is at ${band:.6f}" in page
    assert f"<title>Close, {day}: ${close:.6f}</title>" in page
    assert f"<title>Band, {day}: ${band:.6f}</title>" in page
    assert f"{day} ${close:.6f} ${band:.6f} $1.000000" in own.words("/icebox")


def test_a_token_that_left_lately_keeps_its_chart(own: Treasury) -> None:
    """It is no longer barred, and was within the last 30 days."""
    day = own.days[-1]
    symbol = own.rows(schema.icebox)["symbol"].iloc[0]
    own.change(sa.delete(schema.icebox).where(schema.icebox.c.date == day))
    words = own.words("/icebox")
    assert f"No token is barred at the end of {day}" in words
    assert f"{symbol}, barred until {day - timedelta(days=1)}" in words


def test_events_are_paged_newest_first(own: Treasury) -> None:
    """Premium alerts among them, the daily marks not."""
    first = own.days[0]
    event = {"chain": "Ethereum", "address": f"0x{'cd' * 20}", "kind": "premium_alert", "symbol": "ACC"}
    more = [
        {
            **event,
            "date": first - timedelta(days=back),
            "reason_codes": "PREMIUM",
            "reason": f"alert {back}",
            "grade": 3,
        }
        for back in range(1, 71)
    ]
    insert(own, schema.icebox_events, more)
    pages = [own.words(f"/icebox?page={number}") for number in (1, 2)]
    for back in range(1, 71):
        assert sum(f"alert {back} PREMIUM 3" in page for page in pages) == 1
    assert pages[0].index("alert 1 PREMIUM") < pages[0].index("alert 2 PREMIUM")
    assert "tokens barred at the end of the day" not in pages[0] + pages[1]
    own.page("/icebox?page=3", 400)


def test_overrides_are_told_with_reason_and_days(own: Treasury) -> None:
    """One in force, one expired, one to come."""
    day = own.days[-1]
    table = schema.policy_snapshot
    policy = json.loads(own.rows(table).query("date == @day")["policy_json"].iloc[0])
    spans = ((-5, 5), (-9, -1), (2, None), (-3, 0))
    policy["icebox_overrides"] = [
        {
            "chain": "Ethereum",
            "address": f"0x{number:040x}",
            "barred": number % 2 == 0,
            "reason": f"reason {number} {HOSTILE[number]}",
            "since": str(day + timedelta(days=first)),
            "expires": None if last is None else str(day + timedelta(days=last)),
        }
        for number, (first, last) in enumerate(spans)
    ]
    own.change(sa.update(table).where(table.c.date == day).values(policy_json=json.dumps(policy)))
    page, words = own.page("/icebox"), own.words("/icebox")
    require_harmless(page)
    for number, state in enumerate(("yes", "no, expired", "not yet", "yes")):
        since = day + timedelta(days=spans[number][0])
        last = spans[number][1]
        told = "never" if last is None else str(day + timedelta(days=last))
        row = words[words.index(f"reason {number} ") :]
        assert f"{since} {told} {state}" in row[:500]


def test_hostile_symbols_stay_text(own: Treasury) -> None:
    """Of barred tokens and events."""
    for text in HOSTILE:
        own.change(sa.update(schema.icebox).values(symbol=text, reason=text))
        events = schema.icebox_events
        own.change(sa.update(events).where(events.c.kind != "checked").values(symbol=text, reason=text))
        require_harmless(own.page("/icebox"))


def test_later_days_change_no_earlier_page(own: Treasury) -> None:
    """Noise in every later row."""
    day = own.days[0]
    before = own.page(f"/icebox?date={day}")
    for table, values in (
        (schema.icebox, {"symbol": "noise", "last_low": 7.0}),
        (schema.icebox_events, {"reason": "noise", "kind": "enter"}),
        (schema.daily_bars, {"close": 7.0}),
    ):
        own.change(sa.update(table).where(table.c.date > day).values(**values))
    assert own.page(f"/icebox?date={day}") == before
