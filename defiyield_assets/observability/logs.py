"""Lines of logs: one event a line, as text for people or as a JSON object for programs, without secrets.

Lives here: what a line looks like, and installing it for a process of ours. Not here: what Dagster's processes print of
themselves (`--log-format json`), its event log (`python_logs` of dagster.yaml has our loggers managed: then lines carry
the run and step that they belong to).

Everything that is logged may have been said by a vendor: control characters are escaped, so that nobody forges a line.
"""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from defiyield_assets.sources.redaction import Redactor

VARIABLE = "DEFIYIELD_LOG_FORMAT"
OURS = "defiyield_assets"
SUBJECTS = ("vendor", "endpoint", "asset", "partition")
"""What a record may say of itself by `extra`, and a line then has as fields."""
PARTITION_TAG = "dagster/partition"
LONGEST = 16_384
"""Characters of a message or a traceback: a vendor's body may be in it."""


def one_line(text: str) -> str:
    """The text with every character escaped that could end a line or steer a terminal."""
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


class _Redacting(logging.Formatter):
    """Lines without the secrets of the environment, which are looked up when the first line is written."""

    @cached_property
    def _hide(self) -> "Redactor":
        from defiyield_assets.observability.secrets import redactor

        return redactor()

    def _time(self, record: logging.LogRecord) -> str:
        told = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return told.replace("+00:00", "Z")

    def _told(self, text: str) -> str:
        """Redacted before it is cut: half a secret would not be known as one."""
        told = self._hide.text(text)
        return told if len(told) <= LONGEST else f"{told[:LONGEST]}… ({len(told):,} characters)"


class TextLines(_Redacting):
    """`time LEVEL logger: message`; a traceback follows in lines of its own, each indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        head = f"{self._time(record)} {record.levelname} {record.name}: {one_line(self._told(record.getMessage()))}"
        if not record.exc_info:
            return head
        trace = self._told(self.formatException(record.exc_info)).splitlines()
        return "\n".join([head, *(f"    {one_line(line)}" for line in trace)])


class JsonLines(_Redacting):
    """One object a line: time, level, logger, message, and where they are known run, job, step, partition, vendor."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON; a secret is hidden in every field."""
        dagster: dict[str, Any] = getattr(record, "dagster_meta", {})
        tags = dagster.get("job_tags") or {}
        line = {
            "time": self._time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": str(dagster.get("orig_message") or record.getMessage()),
            "run_id": dagster.get("run_id"),
            "job": dagster.get("job_name"),
            "step": dagster.get("step_key"),
            "partition": tags.get(PARTITION_TAG),
            **{name: str(value) for name in SUBJECTS if (value := getattr(record, name, None)) is not None},
            "error": self.formatException(record.exc_info) if record.exc_info else None,
        }
        told = {name: self._told(value) for name, value in line.items() if value is not None}
        return json.dumps(told, ensure_ascii=True)


class _StandardError(logging.Handler):
    """Writes to whatever standard error is when a line is written."""

    def emit(self, record: logging.LogRecord) -> None:
        """One line, or nothing where standard error is gone."""
        try:
            sys.stderr.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - logging's own way: a line that cannot be written stops nobody
            self.handleError(record)


def configure_logging() -> None:
    """Have this process's loggers write to standard error as DEFIYIELD_LOG_FORMAT says; a second call changes nothing.

    text: warnings and errors. json: what our own loggers say from `info` on, too.
    """
    is_json = os.environ.get(VARIABLE, "").strip().lower() == "json"
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _StandardError)]:
        root.removeHandler(handler)
    handler = _StandardError()
    handler.setFormatter(JsonLines() if is_json else TextLines())
    handler.setLevel(logging.INFO if is_json else logging.WARNING)
    root.addHandler(handler)
    if is_json:
        logging.getLogger(OURS).setLevel(logging.INFO)
