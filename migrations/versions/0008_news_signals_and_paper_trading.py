"""Revision 0008: news signals and paper trading.

Written from defiyield_assets/store/schema.py by migrations/autogenerate.py, then read by a human.
"""

import sqlalchemy as sa
from alembic import op

from defiyield_assets.store.types import ExactDecimal, UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Bring the schema forward."""
    op.create_table(
        "news_articles",
        sa.Column("article_id", sa.Text(), nullable=False, comment="SHA-256 of the canonical address"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of published_at"),
        sa.Column("url", sa.Text(), nullable=False, comment="Canonical address"),
        sa.Column(
            "title",
            sa.Text(),
            nullable=False,
            comment="As first told, without control characters and cut; never trusted, never followed",
        ),
        sa.Column("is_title_cut", sa.Boolean(), nullable=False, comment="The title was longer than is kept"),
        sa.Column(
            "source", sa.Text(), nullable=False, comment="Who published it, as the vendor names it; empty: not told"
        ),
        sa.Column("source_domain", sa.Text(), nullable=False, comment="Domain of the source; empty: not told"),
        sa.Column("region", sa.Text(), nullable=False, comment="Language or region of the source; empty: not told"),
        sa.Column("kind", sa.Text(), nullable=False, comment="news, media or what else the vendor calls it"),
        sa.Column("published_at", UtcDateTime(), nullable=False, comment="When it was published"),
        sa.Column("listed_at", UtcDateTime(), nullable=True, comment="When the vendor listed it"),
        sa.Column(
            "known_at",
            UtcDateTime(),
            nullable=False,
            comment="When one could know of it: the later of both, at most when we were told",
        ),
        sa.Column("first_told_at", UtcDateTime(), nullable=False, comment="Stamp of the answer that told it first"),
        sa.Column("last_told_at", UtcDateTime(), nullable=False, comment="Stamp of the newest answer that told it"),
        sa.Column("post_ids", sa.Text(), nullable=False, comment="The vendor's posts of it, comma separated"),
        sa.Column("codes", sa.Text(), nullable=False, comment="Currency codes that the posts name, comma separated"),
        sa.Column(
            "codes_known",
            sa.Text(),
            nullable=False,
            comment="Since when each of them was known, in their order, comma separated ISO 8601",
        ),
        sa.Column(
            "n_unknown_codes", sa.Integer(), nullable=False, comment="Codes among them that are no instrument's symbol"
        ),
        sa.PrimaryKeyConstraint("article_id", name=op.f("pk_news_articles")),
        comment="Articles by their canonical address, each once however many posts name it; titles are data of strangers",
    )
    op.create_index(op.f("ix_news_articles_known_at"), "news_articles", ["known_at"], unique=False)
    op.create_table(
        "news_coverage",
        sa.Column("feed", sa.Text(), nullable=False, comment="What was asked for: filters as canonical text"),
        sa.Column("read_from", UtcDateTime(), nullable=False, comment="First instant"),
        sa.Column("read_through", UtcDateTime(), nullable=False, comment="Last instant"),
        sa.Column(
            "told_at", UtcDateTime(), nullable=False, comment="Stamp of the newest answer of the reading that wrote it"
        ),
        sa.PrimaryKeyConstraint("feed", "read_from", name=op.f("pk_news_coverage")),
        comment="Spans of time of which every post of a feed was read; the end of the newest is the watermark",
    )
    op.create_table(
        "news_instrument_links",
        sa.Column("article_id", sa.Text(), nullable=False, comment="Article"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of known_at"),
        sa.Column("code", sa.Text(), nullable=False, comment="Code that named it"),
        sa.Column(
            "known_at", UtcDateTime(), nullable=False, comment="Since when the code was known: never before the article"
        ),
        sa.PrimaryKeyConstraint("article_id", "instrument_id", name=op.f("pk_news_instrument_links")),
        comment="Which instruments an article is about, by the currency codes of its posts",
    )
    op.create_index(
        op.f("ix_news_instrument_links_instrument_id_known_at"),
        "news_instrument_links",
        ["instrument_id", "known_at"],
        unique=False,
    )
    op.create_table(
        "news_sentiment",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("hour", UtcDateTime(), nullable=False, comment="First instant of the hour"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of the hour"),
        sa.Column("n_articles", sa.Integer(), nullable=False, comment="Articles that became known in the hour"),
        sa.Column("n_window", sa.Integer(), nullable=False, comment="Articles of the window that ends with the hour"),
        sa.Column("n_votes", sa.Integer(), nullable=False, comment="Votes of opinion on them, as told by known_at"),
        sa.Column(
            "lexicon_score",
            sa.Float(),
            nullable=True,
            comment="Tone of the titles, weighted by age; null: no word of the lexicon in any",
        ),
        sa.Column(
            "votes_score",
            sa.Float(),
            nullable=True,
            comment="Balance of the votes of opinion, weighted by age; null: none was told",
        ),
        sa.Column(
            "combined",
            sa.Float(),
            nullable=True,
            comment="Both by the weights of the configuration; the other where one is null",
        ),
        sa.Column("window_hours", sa.Float(), nullable=False, comment="Length of the window"),
        sa.Column(
            "ruler",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the lexicon and the weighing that it was measured with",
        ),
        sa.Column(
            "known_at",
            UtcDateTime(),
            nullable=False,
            comment="When the row was knowable: the end of the hour, or the votes in it if later",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "hour", name=op.f("pk_news_sentiment")),
        comment="Sentiment of an instrument at the end of an hour, from the articles known by then and their votes as told by then",
    )
    op.create_table(
        "news_votes",
        sa.Column(
            "post_id",
            sa.Text(),
            nullable=False,
            comment="The vendor's post; every post that was told is here, with votes or without",
        ),
        sa.Column("told_at", UtcDateTime(), nullable=False, comment="Stamp of the answer"),
        sa.Column("date", sa.Date(), nullable=False, comment="UTC day of told_at"),
        sa.Column("article_id", sa.Text(), nullable=False, comment="Its article"),
        sa.Column(
            "negative",
            sa.Integer(),
            nullable=True,
            comment="Votes 'negative' so far; null: the post was told without votes",
        ),
        sa.Column(
            "positive",
            sa.Integer(),
            nullable=True,
            comment="Votes 'positive' so far; null: the post was told without votes",
        ),
        sa.Column(
            "important",
            sa.Integer(),
            nullable=True,
            comment="Votes 'important' so far; null: the post was told without votes",
        ),
        sa.Column(
            "liked", sa.Integer(), nullable=True, comment="Votes 'liked' so far; null: the post was told without votes"
        ),
        sa.Column(
            "disliked",
            sa.Integer(),
            nullable=True,
            comment="Votes 'disliked' so far; null: the post was told without votes",
        ),
        sa.Column(
            "lol", sa.Integer(), nullable=True, comment="Votes 'lol' so far; null: the post was told without votes"
        ),
        sa.Column(
            "toxic", sa.Integer(), nullable=True, comment="Votes 'toxic' so far; null: the post was told without votes"
        ),
        sa.Column(
            "saved", sa.Integer(), nullable=True, comment="Votes 'saved' so far; null: the post was told without votes"
        ),
        sa.Column(
            "comments",
            sa.Integer(),
            nullable=True,
            comment="Votes 'comments' so far; null: the post was told without votes",
        ),
        sa.PrimaryKeyConstraint("post_id", "told_at", name=op.f("pk_news_votes")),
        comment="Votes on a post as they were told, a row whenever they had changed: what was known of them at any time",
    )
    op.create_index(op.f("ix_news_votes_article_id"), "news_votes", ["article_id"], unique=False)
    op.create_table(
        "paper_orders",
        sa.Column("order_id", sa.Text(), nullable=False, comment="Portfolio and number of the order"),
        sa.Column("portfolio_id", sa.Text(), nullable=False, comment="Portfolio"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: the day whose run filled or refused it"),
        sa.Column("number", sa.Integer(), nullable=False, comment="Orders of the portfolio are numbered from 1"),
        sa.Column("ts", UtcDateTime(), nullable=False, comment="Open of the bar in which it was filled or refused"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("symbol", sa.Text(), nullable=False, comment="Pair at the exchange: instrument and currency"),
        sa.Column("side", sa.Text(), nullable=False, comment="What was asked for"),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="market: at the open or through a stop; limit: at a target"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="What became of it"),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was rejected"),
        sa.Column("price", ExactDecimal(), nullable=True, comment="Price with spread and impact in it; null: rejected"),
        sa.Column("quantity", ExactDecimal(), nullable=True, comment="Units; null: rejected before a size was known"),
        sa.Column("fee", ExactDecimal(), nullable=True, comment="Fee, currency"),
        sa.Column("total", ExactDecimal(), nullable=True, comment="Currency paid with the fee, or got without it"),
        sa.Column("decision", sa.Text(), nullable=False, comment="What was decided"),
        sa.Column("rule", sa.Integer(), nullable=False, comment="Number of the strategy's rule, from 0"),
        sa.Column(
            "decided_on",
            sa.Date(),
            nullable=False,
            comment="Completed bar on which it was decided; of stops and targets: their entry's",
        ),
        sa.Column(
            "signal",
            sa.Text(),
            nullable=False,
            comment="What it follows: the type of an external signal, else the strategy",
        ),
        sa.Column("stop_price", sa.Float(), nullable=True, comment="Stop of an entry"),
        sa.Column("target_price", sa.Float(), nullable=True, comment="Target of an entry"),
        sa.PrimaryKeyConstraint("order_id", name=op.f("pk_paper_orders")),
        comment="Orders of paper portfolios as the simulated exchange recorded them, each with the decision that it carries out",
    )
    op.create_index(op.f("ix_paper_orders_portfolio_id_date"), "paper_orders", ["portfolio_id", "date"], unique=False)
    op.create_table(
        "paper_portfolio",
        sa.Column(
            "portfolio_id",
            sa.Text(),
            nullable=False,
            comment="Portfolio: id in paper.yaml, or made of a command's terms",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition"),
        sa.Column("strategy_id", sa.Text(), nullable=False, comment="Strategy"),
        sa.Column("strategy_hash", sa.Text(), nullable=False, comment="Its content: another one is another portfolio"),
        sa.Column("universe", sa.Text(), nullable=False, comment="Group of instruments that it trades"),
        sa.Column("starts_on", sa.Date(), nullable=False, comment="First day on which an order may be filled"),
        sa.Column(
            "instruments_json",
            sa.Text(),
            nullable=False,
            comment="Instruments that it trades, the same from its first day to its last",
        ),
        sa.Column("bar_date", sa.Date(), nullable=True, comment="Newest bar that was traded; null: none yet"),
        sa.Column(
            "signal_types",
            sa.Text(),
            nullable=True,
            comment="Types of signals that the strategy follows, separated by commas; null: none",
        ),
        sa.Column(
            "is_in_sample",
            sa.Boolean(),
            nullable=False,
            comment="Up to here it followed a model that was trained on that time: no evidence",
        ),
        sa.Column("capital", ExactDecimal(), nullable=False, comment="Currency at the start"),
        sa.Column("cash", ExactDecimal(), nullable=False, comment="Currency at the exchange"),
        sa.Column(
            "positions_value",
            ExactDecimal(),
            nullable=False,
            comment="Units at the exchange at their last closes, shorts negative",
        ),
        sa.Column("equity", ExactDecimal(), nullable=False, comment="Cash and positions"),
        sa.Column("engine_cash", sa.Float(), nullable=False, comment="The same cash as the engine reckons it"),
        sa.Column("engine_equity", sa.Float(), nullable=False, comment="The same equity as the engine reckons it"),
        sa.Column("exposure", sa.Float(), nullable=False, comment="Value of longs and shorts, added"),
        sa.Column("n_positions", sa.Integer(), nullable=False, comment="Open positions"),
        sa.Column("n_orders", sa.Integer(), nullable=False, comment="Orders so far"),
        sa.Column("n_trades", sa.Integer(), nullable=False, comment="Round trips so far"),
        sa.Column(
            "balances_json",
            sa.Text(),
            nullable=False,
            comment="Units of each asset at the exchange as decimals; what is owed is negative",
        ),
        sa.Column(
            "positions_json",
            sa.Text(),
            nullable=False,
            comment="Open positions, each with the day of its entry's decision",
        ),
        sa.Column(
            "pending_json",
            sa.Text(),
            nullable=False,
            comment="Orders that wait for the next open, each with the day of its decision",
        ),
        sa.Column("exchange_json", sa.Text(), nullable=False, comment="The exchange's account, exactly"),
        sa.Column(
            "settled_json", sa.Text(), nullable=False, comment="The engine's state after the close, before the decision"
        ),
        sa.Column(
            "state_json",
            sa.Text(),
            nullable=False,
            comment="The engine's state with the decision as orders: what the next bar begins with",
        ),
        sa.Column(
            "scales_json",
            sa.Text(),
            nullable=False,
            comment="Newest bar and adjustment factor of each instrument that prices of the state are in",
        ),
        sa.Column(
            "restated_json",
            sa.Text(),
            nullable=False,
            comment="Splits and dividends that restated what it held before the day's bars: units by what",
        ),
        sa.Column("terms_json", sa.Text(), nullable=False, comment="Costs and account"),
        sa.Column("engine_version", sa.Text(), nullable=False, comment="Version of the engine"),
        sa.PrimaryKeyConstraint("portfolio_id", "date", name=op.f("pk_paper_portfolio")),
        comment="Each paper portfolio at the end of each day: balances, equity, what waits for the next open, and the state that the next day goes on from",
    )
    op.create_table(
        "paper_trades",
        sa.Column("portfolio_id", sa.Text(), nullable=False, comment="Portfolio"),
        sa.Column("number", sa.Integer(), nullable=False, comment="In the order in which they were closed, from 1"),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: the day whose run closed it"),
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("rule", sa.Integer(), nullable=False, comment="Number of the strategy's rule, from 0"),
        sa.Column("side", sa.Text(), nullable=False, comment="long or short"),
        sa.Column("quantity", sa.Float(), nullable=False, comment="Units"),
        sa.Column("entry_date", sa.Date(), nullable=False, comment="Bar of the entry"),
        sa.Column("entry_price", sa.Float(), nullable=False, comment="Price paid or got, spread in it"),
        sa.Column("exit_date", sa.Date(), nullable=False, comment="Bar of the exit"),
        sa.Column("exit_price", sa.Float(), nullable=False, comment="Price got or paid"),
        sa.Column("entry_fee", sa.Float(), nullable=False, comment="Fee of the entry, currency"),
        sa.Column("exit_fee", sa.Float(), nullable=False, comment="Fee of the exit, currency"),
        sa.Column("borrow_cost", sa.Float(), nullable=False, comment="Paid for borrowing, currency"),
        sa.Column("bars_held", sa.Integer(), nullable=False, comment="Bars, those of entry and exit counted"),
        sa.Column("exit_reason", sa.Text(), nullable=False, comment="Why it was closed"),
        sa.Column("pnl", sa.Float(), nullable=False, comment="Currency, net of fees and borrowing"),
        sa.Column("return", sa.Float(), nullable=False, comment="Net profit as a fraction of the entry's value"),
        sa.Column("exit_order_id", sa.Text(), nullable=False, comment="The order that closed it"),
        sa.PrimaryKeyConstraint("portfolio_id", "number", name=op.f("pk_paper_trades")),
        comment="Round trips of paper portfolios, as a backtest of the same strategy over the same bars has them",
    )
    op.create_index(op.f("ix_paper_trades_portfolio_id_date"), "paper_trades", ["portfolio_id", "date"], unique=False)
    op.create_table(
        "signal_types",
        sa.Column(
            "signal_type",
            sa.Text(),
            nullable=False,
            comment="ai:<model>, or news:sentiment: the one spelling everywhere",
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="Where its signals come from"),
        sa.Column("model", sa.Text(), nullable=True, comment="Name of the model as Ollama spells it; null: no model"),
        sa.Column(
            "training_cutoff",
            sa.Date(),
            nullable=True,
            comment="Last day that the model was trained on; null: trained on nothing",
        ),
        sa.Column("is_stub", sa.Boolean(), nullable=False, comment="Made by the stand-in that asks no model"),
        sa.Column("description", sa.Text(), nullable=False, comment="What it is, in words"),
        sa.Column(
            "is_configured",
            sa.Boolean(),
            nullable=False,
            comment="Still in models.yaml; what is not stays for the signals that name it",
        ),
        sa.PrimaryKeyConstraint("signal_type", name=op.f("pk_signal_types")),
        comment="Kinds of signals that exist: one for each configured model, one for the stub, one for news",
    )
    op.create_table(
        "ai_signals",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("bar_ts", UtcDateTime(), nullable=False, comment="Open of the bar that the prompt ends with"),
        sa.Column("model", sa.Text(), nullable=False, comment="Name of the model; stub: the stand-in that asks nobody"),
        sa.Column(
            "prompt_hash",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of messages, model, digest, options and reply schema",
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: UTC day (session) of the bar"),
        sa.Column("signal_type", sa.Text(), nullable=False, comment="ai:<model>, a row of signal_types"),
        sa.Column(
            "model_digest",
            sa.Text(),
            nullable=False,
            comment="Digest of the model's weights as Ollama tells it; stub:<version>; unknown: not told",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="What came of it"),
        sa.Column(
            "is_followed",
            sa.Boolean(),
            nullable=False,
            comment="The one of the bar's rows that trading_signals holds: the first answer, unless told",
        ),
        sa.Column("signal", sa.Text(), nullable=False, comment="What to do; HOLD unless the status is ok"),
        sa.Column("confidence", sa.Float(), nullable=True, comment="As the model says; null unless the status is ok"),
        sa.Column(
            "reasoning",
            sa.Text(),
            nullable=True,
            comment="In the model's words, at most 600 characters, never read by a machine",
        ),
        sa.Column("stop_loss_price", sa.Float(), nullable=True, comment="Raw scale of the bar's day"),
        sa.Column("target_price", sa.Float(), nullable=True, comment="Raw scale of the bar's day"),
        sa.Column("close", sa.Float(), nullable=False, comment="Raw close of the bar"),
        sa.Column(
            "closed_at", UtcDateTime(), nullable=False, comment="When the bar closed: nothing in the prompt is later"
        ),
        sa.Column("horizon_days", sa.Integer(), nullable=False, comment="Days that the question was about"),
        sa.Column("prompt_json", sa.Text(), nullable=False, comment="The messages as canonical JSON"),
        sa.Column(
            "raw_answer",
            sa.Text(),
            nullable=True,
            comment="The last answer's content word for word, capped; null: there was none",
        ),
        sa.Column(
            "n_asked", sa.Integer(), nullable=False, comment="Answers that it took, those from the archive included"
        ),
        sa.Column(
            "n_news",
            sa.Integer(),
            nullable=True,
            comment="Headlines in the prompt; null: nobody had read the news of that time",
        ),
        sa.Column("problem", sa.Text(), nullable=True, comment="Why the status is not ok"),
        sa.Column(
            "answered_at",
            UtcDateTime(),
            nullable=True,
            comment="The transport's stamp of the last answer; null: nobody was asked",
        ),
        sa.ForeignKeyConstraint(
            ["signal_type"],
            ["signal_types.signal_type"],
        ),
        sa.PrimaryKeyConstraint("instrument_id", "bar_ts", "model", "prompt_hash", name=op.f("pk_ai_signals")),
        comment="What a model replied for a bar: a row for each question about it, with prompt, raw answer and status",
    )
    op.create_index(op.f("ix_ai_signals_date"), "ai_signals", ["date"], unique=False)
    op.create_table(
        "trading_signals",
        sa.Column("instrument_id", sa.Text(), nullable=False, comment="Instrument"),
        sa.Column("decided_at", UtcDateTime(), nullable=False, comment="When the bar closed on which it was decided"),
        sa.Column(
            "signal_type", sa.Text(), nullable=False, comment="ai:<model> or news:sentiment, a row of signal_types"
        ),
        sa.Column("date", sa.Date(), nullable=False, comment="Partition: UTC day (session) of the bar"),
        sa.Column("bar_ts", UtcDateTime(), nullable=False, comment="Open of that bar"),
        sa.Column(
            "actionable_from",
            UtcDateTime(),
            nullable=False,
            comment="End of the bar's UTC day: the first open that could act on it",
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="What came of it; only ok is ever BUY or SELL"),
        sa.Column("signal", sa.Text(), nullable=False, comment="What to do"),
        sa.Column("confidence", sa.Float(), nullable=True, comment="0 to 1; null: not told"),
        sa.Column("close", sa.Float(), nullable=False, comment="Raw close of the bar"),
        sa.Column("stop_loss_price", sa.Float(), nullable=True, comment="Raw scale of the bar's day; null: none named"),
        sa.Column("target_price", sa.Float(), nullable=True, comment="Raw scale of the bar's day; null: none named"),
        sa.Column(
            "prompt_hash", sa.Text(), nullable=True, comment="The row of ai_signals that it comes from; null: no model"
        ),
        sa.Column(
            "training_cutoff",
            sa.Date(),
            nullable=True,
            comment="Last day that the model was trained on; null: trained on nothing",
        ),
        sa.ForeignKeyConstraint(
            ["signal_type"],
            ["signal_types.signal_type"],
        ),
        sa.PrimaryKeyConstraint("instrument_id", "decided_at", "signal_type", name=op.f("pk_trading_signals")),
        comment="What strategies and paper trading may follow: signals of models and of news as of when they could be acted on",
    )
    op.create_index(op.f("ix_trading_signals_date"), "trading_signals", ["date"], unique=False)
    op.create_index(
        op.f("ix_trading_signals_signal_type_actionable_from"),
        "trading_signals",
        ["signal_type", "actionable_from"],
        unique=False,
    )


def downgrade() -> None:
    """Take the schema back."""
    op.drop_index(op.f("ix_trading_signals_signal_type_actionable_from"), table_name="trading_signals")
    op.drop_index(op.f("ix_trading_signals_date"), table_name="trading_signals")
    op.drop_table("trading_signals")
    op.drop_index(op.f("ix_ai_signals_date"), table_name="ai_signals")
    op.drop_table("ai_signals")
    op.drop_table("signal_types")
    op.drop_index(op.f("ix_paper_trades_portfolio_id_date"), table_name="paper_trades")
    op.drop_table("paper_trades")
    op.drop_table("paper_portfolio")
    op.drop_index(op.f("ix_paper_orders_portfolio_id_date"), table_name="paper_orders")
    op.drop_table("paper_orders")
    op.drop_index(op.f("ix_news_votes_article_id"), table_name="news_votes")
    op.drop_table("news_votes")
    op.drop_table("news_sentiment")
    op.drop_index(op.f("ix_news_instrument_links_instrument_id_known_at"), table_name="news_instrument_links")
    op.drop_table("news_instrument_links")
    op.drop_table("news_coverage")
    op.drop_index(op.f("ix_news_articles_known_at"), table_name="news_articles")
    op.drop_table("news_articles")
