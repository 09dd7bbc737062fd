"""Secrets that are handed over as files: `DEFIYIELD_<FIELD>_FILE` names a file that holds the value of a setting.

Lives here: which file may be read, and what of it is the secret. Not here: which settings there are (settings.py) or
keeping secrets out of messages (sources/redaction, addresses.py).
"""

import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from defiyield_assets.errors import ConfigurationError

PREFIX = "DEFIYIELD_"
SUFFIX = "_FILE"
LONGEST_BYTES = 64 * 1024
"""No key or address is longer; a file that is was named by mistake."""
MOUNTS = (Path("/run/secrets"), Path("/var/run/secrets"), Path("/run/credentials"))
"""Where containers and systemd mount secrets, readable within the container or unit alone, whatever their mode says."""
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def secrets_of_files(environment: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """Values of the settings among `names` for which the environment names a file, by setting.

    Raises ConfigurationError where a setting is given both ways, or where its file is missing, empty, no text, no
    regular file, too long, or open to others than its owner outside `MOUNTS`. The content is never repeated.
    """
    said = {name.upper(): value for name, value in environment.items() if value}
    found = {}
    for name in names:
        variable = f"{PREFIX}{name.upper()}"
        place = said.get(variable + SUFFIX)
        if place is None:
            continue
        if variable in said:
            raise ConfigurationError(
                f"environment: {variable}{SUFFIX}: {variable} is set as well, and only one of them can count; unset one"
            )
        try:
            found[name] = _secret_of(Path(place))
        except ValueError as error:
            raise ConfigurationError(f"environment: {variable}{SUFFIX}: {place} {error}") from None
    return found


def _secret_of(path: Path) -> str:
    """What the file holds without the newline at its end; ValueError says why it cannot be read or must not be."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a pipe would wait for its writer for ever
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    try:
        _require_private(path, os.fstat(handle).st_mode)
        body = os.read(handle, LONGEST_BYTES + 1)
    finally:
        os.close(handle)
    if len(body) > LONGEST_BYTES:
        raise ValueError(f"is longer than {LONGEST_BYTES:,} bytes, which no secret is")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    secret = text.removesuffix("\n").removesuffix("\r")
    if not secret.strip():
        raise ValueError("is empty; it has to hold the value and nothing else")
    if any(ord(character) < 32 or ord(character) == 127 for character in secret):
        raise ValueError("holds more than one line, or control characters; it has to hold the value and nothing else")
    return secret


def _require_private(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise ValueError("is no regular file")
    is_mounted = ".." not in path.parts and any(path.is_relative_to(mount) for mount in MOUNTS)
    if mode & FOR_OTHERS and not is_mounted:
        right = "right would be `chmod 600` on it"
        raise ValueError(f"is open to others than its owner (mode {stat.S_IMODE(mode):04o}); {right}")
