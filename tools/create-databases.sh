#!/bin/sh
# Run by the postgres image when its volume is empty: a database and its owner for each of the two servers.
set -eu

create() { # create NAME PASSWORD
  psql -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" -v name="$1" -v password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
}

create mlflow "$MLFLOW_DB_PASSWORD"
create prefect "$PREFECT_DB_PASSWORD"
