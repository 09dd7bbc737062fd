"""The secrets of this process's environment, so that nothing that is shown or logged holds one.

Lives here: which of the environment's values are secrets. Not here: replacing them (sources/redaction.py), secrets that
are handed over as files (secret_files.py), keys on their way to a vendor (sources/transport.py).
"""

import os
import re
from contextlib import suppress

from defiyield_assets.errors import ConfigurationError
from defiyield_assets.secret_files import SUFFIX, secrets_of_files
from defiyield_assets.settings import secret_fields
from defiyield_assets.sources.redaction import Redactor

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|WEBHOOK|RPC_URL")
"""Names of variables whose values are secrets."""
SHORTEST = 4
"""A shorter value is an innocent part of other texts."""


def redactor() -> Redactor:
    """Knows every secret that the environment or its files hold, whether settings can be read or not."""
    found = Redactor()
    for field in secret_fields():
        with suppress(ConfigurationError):  # a file that cannot be read is told by the check of the configuration
            for secret in secrets_of_files(os.environ, [field]).values():
                found.learn(secret)
                _learn_password(found, secret)
    for name, value in os.environ.items():
        is_ours = name.upper().startswith("DEFIYIELD_") and not name.upper().endswith(SUFFIX)
        if is_ours and SECRET_NAME.search(name.upper()) and len(value) >= SHORTEST:
            found.learn(value)
        _learn_password(found, value)
    return found


def _learn_password(hide: Redactor, address: str) -> None:
    """Hide what stands for a password in an address. A database's user is none: hidden, `postgres` or `defiyield` would
    be missing from every sentence."""
    scheme, _, rest = address.partition("://")
    if "@" in rest:
        user, _, password = rest.rpartition("@")[0].partition(":")
        hide.learn(password or (None if scheme.startswith("postgres") else user))
