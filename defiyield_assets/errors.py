"""The error tree of the product: who can mend it decides the class.

Lives here: every exception that crosses a room's border. Not here: how an error is shown (orchestration/failures.py,
cli).
"""

from collections.abc import Sequence
from datetime import date


class DefiYieldError(Exception):
    """Root of all errors that the product raises on purpose."""


class TransientError(DefiYieldError):
    """May heal by itself; retrying is right."""


class PermanentError(DefiYieldError):
    """Retrying cannot help; a human or a later partition must act."""


class SuspiciousDataError(PermanentError):
    """An answer or a table breaks an invariant; nothing was written."""


class ConfigurationError(PermanentError):
    """A setting, key or file is missing or wrong; the message names it and what would be right."""


class NotFound(PermanentError):  # noqa: N818 - nothing is wrong with the program or its settings
    """What was asked for by name or day is not stored; the message tells what is near it."""


class InfeasibleError(PermanentError):
    """No plan satisfies the limits; the message names the smallest relaxation."""


class VendorError(DefiYieldError):
    """A vendor's answer cannot be used. Carries the request without secrets."""

    def __init__(self, message: str, *, vendor: str = "", endpoint: str = "", status: int | None = None) -> None:
        super().__init__(message)
        self.vendor = vendor
        self.endpoint = endpoint
        self.status = status


class VendorThrottled(VendorError, TransientError):  # noqa: N818 - names fixed by vendors.md
    """429, or the vendor's own words for it, after all attempts."""


class VendorUnavailable(VendorError, TransientError):  # noqa: N818
    """5xx, time-outs and broken connections after all attempts."""


class VendorMalformed(VendorError, TransientError):  # noqa: N818
    """A body that cannot be decoded or lacks a field that we use, after all attempts."""


class VendorPartial(VendorError, TransientError):  # noqa: N818
    """Too much of what was asked for was not answered, some of it for a reason that may heal; nothing was written."""


class VendorPlanLimit(VendorError, PermanentError):  # noqa: N818
    """The plan's daily or monthly budget is used up."""


class VendorNotFound(VendorError, PermanentError):  # noqa: N818
    """The vendor does not know what was asked for."""


class VendorAuthError(VendorError, PermanentError):
    """The key is missing, wrong or not entitled."""


class VendorUnanswered(VendorError, PermanentError):  # noqa: N818
    """A request that must not be sent twice may have been carried out: no answer came, or none that says so."""


class VendorEmpty(VendorError, PermanentError):  # noqa: N818
    """An empty answer to a question that cannot be empty."""


class NotRecoverable(PermanentError):  # noqa: N818
    """A source that only knows "now" was asked for a day that is over and that the archive does not hold."""

    def __init__(self, what: str, days: Sequence[date]) -> None:
        listed = ", ".join(day.isoformat() for day in days)
        super().__init__(
            f"{what} of {listed} cannot be recovered: the source only answers for the present, "
            f"and the archive holds no answer fetched inside the day's window"
        )
        self.what = what
        self.days = tuple(days)
