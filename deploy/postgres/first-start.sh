#!/bin/sh
# The first start of the database of compose.yaml: roles, databases, and the roles' passwords from files.
# psql reads each password itself, so that none stands on a command line.
set -eu
sql="${DEFIYIELD_ROLES_SQL:-/opt/defiyield/roles.sql}"
secrets="${DEFIYIELD_SECRETS:-/run/secrets}"
psql --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --file "$sql" \
  --variable warehouse="${DEFIYIELD_WAREHOUSE_DB:-warehouse}" --variable dagster="${DEFIYIELD_DAGSTER_PG_DB:-dagster}"
for role in owner writer reader console dagster; do
  psql --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname postgres --variable ON_ERROR_STOP=1 \
    --variable role="defiyield_$role" << SQL
\\set password \`cat "$secrets/${role}_password"\`
ALTER ROLE :"role" PASSWORD :'password';
SQL
done
