"""Paper trading: orders at the simulated exchange, round trips, and each portfolio's state at the end of each day.

Lives here: tables of paper trading. Not here: how a day is traded (domain/paper), backtests (lab.py), signals that are
followed (signals.py). Amounts at the exchange are exact decimals; trades are the engine's floats, to the bit those of a
backtest.
"""

from sqlalchemy import Boolean, Date, Float, Index, Integer, Text

from defiyield_assets.domain.paper.decisions import CAUSES
from defiyield_assets.domain.strategies.state import EXIT_REASONS
from defiyield_assets.store.schema.columns import POSITIVE, ZERO_UP, key, may, must, table
from defiyield_assets.store.types import ExactDecimal, UtcDateTime

paper_orders = table(
    "paper_orders",
    "Orders of paper portfolios as the simulated exchange recorded them, each with the decision that it carries out",
    key("order_id", Text, "Portfolio and number of the order"),
    must("portfolio_id", Text, "Portfolio"),
    must("date", Date, "Partition: the day whose run filled or refused it"),
    must("number", Integer, "Orders of the portfolio are numbered from 1", ge=1),
    must("ts", UtcDateTime, "Open of the bar in which it was filled or refused"),
    must("instrument_id", Text, "Instrument"),
    must("symbol", Text, "Pair at the exchange: instrument and currency"),
    must("side", Text, "What was asked for", isin=["buy", "sell"]),
    must("kind", Text, "market: at the open or through a stop; limit: at a target", isin=["market", "limit"]),
    must("status", Text, "What became of it", isin=["filled", "rejected"]),
    may("reason", Text, "Why it was rejected"),
    may("price", ExactDecimal, "Price with spread and impact in it; null: rejected"),
    may("quantity", ExactDecimal, "Units; null: rejected before a size was known"),
    may("fee", ExactDecimal, "Fee, currency"),
    may("total", ExactDecimal, "Currency paid with the fee, or got without it"),
    must("decision", Text, "What was decided", isin=sorted(CAUSES)),
    must("rule", Integer, "Number of the strategy's rule, from 0", ge=0),
    must("decided_on", Date, "Completed bar on which it was decided; of stops and targets: their entry's"),
    must("signal", Text, "What it follows: the type of an external signal, else the strategy"),
    may("stop_price", Float, "Stop of an entry", **POSITIVE),
    may("target_price", Float, "Target of an entry", **POSITIVE),
    Index(None, "portfolio_id", "date"),
)
paper_trades = table(
    "paper_trades",
    "Round trips of paper portfolios, as a backtest of the same strategy over the same bars has them",
    key("portfolio_id", Text, "Portfolio"),
    key("number", Integer, "In the order in which they were closed, from 1"),
    must("date", Date, "Partition: the day whose run closed it"),
    must("instrument_id", Text, "Instrument"),
    must("rule", Integer, "Number of the strategy's rule, from 0", ge=0),
    must("side", Text, "long or short", isin=["long", "short"]),
    must("quantity", Float, "Units", **POSITIVE),
    must("entry_date", Date, "Bar of the entry"),
    must("entry_price", Float, "Price paid or got, spread in it", **POSITIVE),
    must("exit_date", Date, "Bar of the exit"),
    must("exit_price", Float, "Price got or paid", **POSITIVE),
    must("entry_fee", Float, "Fee of the entry, currency", **ZERO_UP),
    must("exit_fee", Float, "Fee of the exit, currency", **ZERO_UP),
    must("borrow_cost", Float, "Paid for borrowing, currency", **ZERO_UP),
    must("bars_held", Integer, "Bars, those of entry and exit counted", ge=0),
    must("exit_reason", Text, "Why it was closed", isin=sorted(EXIT_REASONS)),
    must("pnl", Float, "Currency, net of fees and borrowing"),
    must("return", Float, "Net profit as a fraction of the entry's value"),
    must("exit_order_id", Text, "The order that closed it"),
    Index(None, "portfolio_id", "date"),
)
paper_portfolio = table(
    "paper_portfolio",
    "Each paper portfolio at the end of each day: balances, equity, what waits for the next open, and the state that "
    "the next day goes on from",
    key("portfolio_id", Text, "Portfolio: id in paper.yaml, or made of a command's terms"),
    key("date", Date, "Partition"),
    must("strategy_id", Text, "Strategy"),
    must("strategy_hash", Text, "Its content: another one is another portfolio"),
    must("universe", Text, "Group of instruments that it trades"),
    must("starts_on", Date, "First day on which an order may be filled"),
    must("instruments_json", Text, "Instruments that it trades, the same from its first day to its last"),
    may("bar_date", Date, "Newest bar that was traded; null: none yet"),
    may("signal_types", Text, "Types of signals that the strategy follows, separated by commas; null: none"),
    must("is_in_sample", Boolean, "Up to here it followed a model that was trained on that time: no evidence"),
    must("capital", ExactDecimal, "Currency at the start"),
    must("cash", ExactDecimal, "Currency at the exchange"),
    must("positions_value", ExactDecimal, "Units at the exchange at their last closes, shorts negative"),
    must("equity", ExactDecimal, "Cash and positions"),
    must("engine_cash", Float, "The same cash as the engine reckons it"),
    must("engine_equity", Float, "The same equity as the engine reckons it"),
    must("exposure", Float, "Value of longs and shorts, added", **ZERO_UP),
    must("n_positions", Integer, "Open positions", ge=0),
    must("n_orders", Integer, "Orders so far", ge=0),
    must("n_trades", Integer, "Round trips so far", ge=0),
    must("balances_json", Text, "Units of each asset at the exchange as decimals; what is owed is negative"),
    must("positions_json", Text, "Open positions, each with the day of its entry's decision"),
    must("pending_json", Text, "Orders that wait for the next open, each with the day of its decision"),
    must("exchange_json", Text, "The exchange's account, exactly"),
    must("settled_json", Text, "The engine's state after the close, before the decision"),
    must("state_json", Text, "The engine's state with the decision as orders: what the next bar begins with"),
    must("scales_json", Text, "Newest bar and adjustment factor of each instrument that prices of the state are in"),
    must("restated_json", Text, "Splits and dividends that restated what it held before the day's bars: units by what"),
    must("terms_json", Text, "Costs and account"),
    must("engine_version", Text, "Version of the engine"),
)
