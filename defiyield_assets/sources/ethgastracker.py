"""EthGasTracker: base fee and effective gas price of Ethereum by the hour, over the past seven days.

Lives here: request and typed rows of `https://www.ethgastracker.com`. Not here: hourly and daily tables (domain/gas).
"""

from collections.abc import Callable
from datetime import date, timedelta

import pandas as pd

from defiyield_assets.domain.days import end_of
from defiyield_assets.errors import VendorEmpty, VendorMalformed
from defiyield_assets.sources import fields
from defiyield_assets.sources.transport import Fetched, Gateway, Window

VENDOR = "ethgastracker"


class EthGasTracker:
    """Client of EthGasTracker."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def hourly(
        self,
        window: Window | None = None,
        reuse: Window | None = None,
        accept: Callable[[pd.DataFrame], None] | None = None,
    ) -> Fetched[pd.DataFrame]:
        """The past seven days by the hour, the running one included (columns: `parse_hourly`); never empty.

        `accept` raises when the rows as a whole will not do (`require_last_hour`); then the answer is archived with
        that error and never stands for another one.
        """

        def parse(answer: object) -> pd.DataFrame:
            rows = parse_hourly(answer)
            if accept is not None:
                accept(rows)
            return rows

        return await self._gateway.get(VENDOR, "/api/gas/average", {}, {}, parse, window=window, reuse=reuse)


def require_last_hour(rows: pd.DataFrame, day: date) -> None:
    """Raise VendorMalformed, which another attempt may heal, when the rows do not tell the last hour of the day.

    Rows that begin after that hour no longer reach the day and are let through: asking again would bring nothing.
    """
    last = pd.Timestamp(end_of(day) - timedelta(hours=1))
    known = rows[["base_fee_gwei", "median_gwei", "max_gwei"]].notna().any(axis=1)
    if rows["hour"].min() <= last and last not in set(rows.loc[known, "hour"]):
        raise VendorMalformed(f"the last hour of {day}, {last:%H:%M} UTC, is not told yet", vendor=VENDOR)


def parse_hourly(answer: object) -> pd.DataFrame:
    """Rows of `/api/gas/average`, ascending.

    Columns: hour (its start), date (UTC day), base_fee_gwei, min_gwei, max_gwei, median_gwei (the last three are
    effective prices), eth_price_usd; nulls are NaN. Exact repeats are dropped; two versions of one hour are refused.
    """
    outer = fields.record(fields.record(answer, "the answer").get("data"), "data")
    rows = fields.distinct(fields.records(outer.get("data"), "data.data"), "period")
    if not rows:
        raise VendorEmpty("the answer holds no hour")
    hours = [at.replace(minute=0, second=0, microsecond=0) for at in fields.column(rows, "period", fields.instant)]
    frame = pd.DataFrame(
        {
            "hour": fields.instants(hours),
            "date": fields.objects([hour.date() for hour in hours]),
            "base_fee_gwei": fields.floats(fields.column(rows, "baseFee", fields.maybe_positive)),
            "min_gwei": fields.floats(fields.column(rows, "min", fields.maybe_positive)),
            "max_gwei": fields.floats(fields.column(rows, "max", fields.maybe_positive)),
            "median_gwei": fields.floats(fields.column(rows, "median", fields.maybe_positive)),
            "eth_price_usd": fields.floats(fields.column(rows, "ethPrice", fields.maybe_positive)),
        }
    )
    # The running hour may come under its start and under its last minute: the row that came first is the newest.
    return frame.drop_duplicates("hour", keep="first").sort_values("hour", ignore_index=True)
