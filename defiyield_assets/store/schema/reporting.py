"""What people were told.

Lives here: tables of reports and messages. Not here: SQL (store/reads.py, writes.py).
"""

from sqlalchemy import Date, Text

from defiyield_assets.store.schema.columns import key, must, table

daily_report = table(
    "daily_report",
    "The page that the analyst reads in the morning",
    key("date", Date, "Partition"),
    must("run_id", Text, "Plan"),
    must("title", Text, "Headline"),
    must("markdown", Text, "Report as Markdown"),
    must("html", Text, "Report as one self-contained page"),
)
slack_notification = table(
    "slack_notification",
    "What was said to Slack, or to the local sink",
    key("date", Date, "Partition"),
    must("text", Text, "Message"),
    must("blocks_json", Text, "Blocks as canonical JSON"),
    must("sink", Text, "Where it went", isin=["slack", "local"]),
    must("status", Text, "Answer of the sink"),
)
