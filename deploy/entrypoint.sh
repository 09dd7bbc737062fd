#!/bin/sh
# Dagster reads the password of its database from the environment alone: the file that is named is read here.
# Settings of our own are read from files by the program itself (DEFIYIELD_<FIELD>_FILE).
set -eu
if [ -n "${DEFIYIELD_DAGSTER_PG_PASSWORD_FILE:-}" ]; then
  DEFIYIELD_DAGSTER_PG_PASSWORD="$(cat "$DEFIYIELD_DAGSTER_PG_PASSWORD_FILE")"
  export DEFIYIELD_DAGSTER_PG_PASSWORD
fi
exec "$@"
