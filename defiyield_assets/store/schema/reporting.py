"""What people were told.

Lives here: tables of reports, messages and alerts. Not here: SQL (store/reads.py, writes.py, slack.py).
"""

from sqlalchemy import Boolean, Date, Integer, Text

from defiyield_assets.store.schema.columns import key, may, must, table
from defiyield_assets.store.types import UtcDateTime

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
slack_messages = table(
    "slack_messages",
    "Every post to Slack, written before it is sent: the claim that keeps two runs, or a crash, from posting twice",
    key("message_key", Text, "What is told, such as the plan of a day; the same key is the same message"),
    key("destination", Text, "Channel of the bot, or fingerprint of the webhook's address; never the address"),
    key("revision", Integer, "0 for the first words, then one more for each correction", ge=0),
    key("part", Integer, "0 for the message, then its continuations; 1000 for the word that it was corrected", ge=0),
    must("date", Date, "Day that is told of"),
    must("run_id", Text, "Plan or run that is told of; empty: none"),
    must("sha256", Text, "Fingerprint of all parts of the revision"),
    must("text", Text, "The part in words, as the notification shows it"),
    must("advice", Text, "Fingerprint of what the revision tells people to do, or of its words"),
    must(
        "status",
        Text,
        "posting: claimed, nothing known yet; refused: it is not there; unknown: nobody knows whether it is there",
        isin=["posting", "posted", "refused", "unknown"],
    ),
    must("is_edit", Boolean, "It replaces an earlier revision in its place"),
    must("attempts", Integer, "How often it was claimed", ge=1),
    may("channel", Text, "Slack's id of the channel; null: a webhook, or not posted"),
    may("ts", Text, "Slack's id of the message in the channel; null: a webhook, or not posted"),
    may("answer", Text, "What went wrong, in words without secrets"),
    must("claimed_at", UtcDateTime, "When a run began to post it"),
    may("settled_at", UtcDateTime, "When it became known what became of it"),
)
slack_alerts = table(
    "slack_alerts",
    "Failures that people are told of, once for each step and day until it recovers",
    key("asset", Text, "Step that failed, or the job when no step did"),
    key("date", Date, "Partition, the first of a range; without one the day of the failure"),
    key("episode", Integer, "0 for the first failure of the day, then one more after each recovery", ge=0),
    must("through", Date, "Last partition of a range"),
    must("is_partitioned", Boolean, "The run had a partition"),
    must("job", Text, "Job of the run"),
    must("run_id", Text, "Run that failed first"),
    must("reason", Text, "Its error in one line, cut"),
    must("failed_at", UtcDateTime, "When it failed"),
    must("repeats", Integer, "Failures since then, that nobody is told of", ge=0),
    must("is_told", Boolean, "The failure was posted, or nobody knows whether it was"),
    may("recovered_at", UtcDateTime, "When it was made after all; null: it still fails"),
    may("noticed_at", UtcDateTime, "When it was seen that it was made after all"),
    must("is_recovery_told", Boolean, "The recovery was posted, or nobody knows whether it was"),
    may("recovery_key", Text, "Message that tells of the recovery"),
)
