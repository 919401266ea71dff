#!/bin/bash
# Have PostgreSQL's administrator, and the roles and databases of MLflow and Prefect, as they are to be, with the passwords
# of /run/secrets: in a new volume, in one that has them already, and in one of before, when all passwords were the same.
set -euo pipefail
export PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10

read -r -d '' roles <<'SQL' || true
\set ON_ERROR_STOP on
\set password `cat /run/secrets/admin`
ALTER ROLE postgres PASSWORD :'password';
REVOKE CONNECT ON DATABASE postgres FROM PUBLIC;
\set password `cat /run/secrets/mlflow`
SELECT 'CREATE ROLE mlflow LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'mlflow') \gexec
ALTER ROLE mlflow PASSWORD :'password';
SELECT 'CREATE DATABASE mlflow OWNER mlflow' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'mlflow') \gexec
REVOKE CONNECT ON DATABASE mlflow FROM PUBLIC;
\set password `cat /run/secrets/prefect`
SELECT 'CREATE ROLE prefect LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'prefect') \gexec
ALTER ROLE prefect PASSWORD :'password';
SELECT 'CREATE DATABASE prefect OWNER prefect' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'prefect') \gexec
REVOKE CONNECT ON DATABASE prefect FROM PUBLIC;
SQL

# Before it was set to the first, the administrator's password was the one made, or the default of earlier versions.
for password in "$(cat /run/secrets/admin)" "$(cat /run/secrets/admin-made)" local-only; do
  if PGPASSWORD=$password psql --no-psqlrc --quiet --command 'SELECT' >/dev/null 2>&1; then
    PGPASSWORD=$password psql --no-psqlrc --quiet <<<"$roles"
    echo "the roles mlflow and prefect have their databases and passwords"
    exit
  fi
done
echo 'PostgreSQL takes none of the passwords: set the one that its volume was made with in .env, as POSTGRES_PASSWORD' >&2
exit 1
