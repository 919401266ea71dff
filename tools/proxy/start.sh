#!/bin/sh
# Starts Caddy. It takes addresses separated by blanks; without TRUSTED_PROXIES nobody has the one that stands here.
set -eu
TRUSTED_PROXIES=$(printf %s "${TRUSTED_PROXIES:-255.255.255.255}" | tr , ' ')
export TRUSTED_PROXIES
exec caddy run --config /etc/caddy/Caddyfile --adapter caddyfile
