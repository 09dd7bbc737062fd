#!/bin/sh
# Random passwords for compose.yaml as files; what is there already stays.
#   deploy/make-secrets.sh [FOLDER]      default: deploy/secrets
# The folder is for its owner only. The files in it are not: compose mounts each, as it is, into the containers that name
# it, where users of other numbers read it.
set -eu
umask 077
folder="${1:-"$(dirname "$0")/secrets"}"
mkdir -p "$folder"
chmod 0700 "$folder"
for role in postgres owner writer reader console dagster; do
  file="$folder/${role}_password"
  [ -s "$file" ] || od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$file"
done
for role in owner writer reader console; do
  printf 'postgresql+psycopg://defiyield_%s:%s@postgres:5432/warehouse' "$role" "$(cat "$folder/${role}_password")" \
    > "$folder/.url" && mv -f "$folder/.url" "$folder/${role}_url"
done
tokens="$folder/console_tokens"
[ -s "$tokens" ] || printf 'operator:%s\n' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" > "$tokens"
chmod 0444 "$folder"/*_password "$folder"/*_url "$tokens"
