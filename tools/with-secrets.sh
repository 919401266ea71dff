#!/bin/sh
# Run a command with a container's secrets in its environment: a variable for each file in /run/secrets that is named in
# capitals. `docker inspect` shows what docker-compose.yml sets and what a command is called with, and so no secret.
set -eu
for file in /run/secrets/*; do
  name=${file##*/}
  case $name in '' | *[!A-Z_]*) continue ;; esac
  [ ! -d "$file" ] || file=$file/$name # Cloud Run mounts each secret in a folder of its own
  export "$name=$(cat "$file")"
done
exec "$@"
