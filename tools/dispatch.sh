#!/bin/sh
# Runs an operator's command where the stack runs: in a container of this project, else on this machine.
# usage: tools/dispatch.sh SERVICE COMMAND...     (SERVICE: the container; STACK=compose or STACK=local to insist)
set -eu
cd "$(dirname "$0")/.."

say() { echo "stack: $*" >&2; }

case ${1:-} in
'' | -h | --help)
    sed -n '2,3s/^# //p' "$0"
    exit
    ;;
esac
service=$1
shift

in_compose() { [ -n "$(docker compose ps --status running --quiet 2>/dev/null)" ]; }
in_local() { [ -x .venv/bin/python ] && .venv/bin/python -m tools.stack running; }

stack=${STACK:-}
if [ -z "$stack" ]; then
    if in_compose; then stack=compose; fi
    if in_local; then stack=${stack:+both}; stack=${stack:-local}; fi
fi
case $stack in
compose)
    say "docker compose, in $service"
    case $service in
    # No service, but a container for one command: what only they may know is in none that lasts.
    approver | passwords) exec docker compose run --rm -T --no-deps ${APPROVALS_TOKEN:+-e APPROVALS_TOKEN} "$service" "$@" ;;
    *) exec docker compose exec -T "$service" with-secrets "$@" ;;
    esac
    ;;
local)
    say "local"
    exec .venv/bin/python -m tools.stack exec "$@"
    ;;
both) say "both stacks run, the local one and docker compose: say which, STACK=local or STACK=compose" ;;
'') say "nothing runs: start it with \`make run\` or \`docker compose up --build\`" ;;
*) say "STACK=$stack: it can be compose or local" ;;
esac
exit 1
