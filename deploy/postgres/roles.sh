#!/usr/bin/env bash
# Runs once, when the database's volume is new: the application gets a role of its own that owns nothing.
set -euo pipefail
psql --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" \
    --set=password="$POSTGRES_APP_PASSWORD" <<'SQL'
CREATE ROLE pantheon_app LOGIN PASSWORD :'password';
SQL
