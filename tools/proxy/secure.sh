#!/bin/sh
# Starts Caddy as the sign-in proxy of the profile `secure`, or says what is missing. Its addresses are those of docker-compose.yml.
set -eu
stop() { echo "secure-proxy: $1" >&2; exit 1; }

[ -n "${OIDC_ISSUER:-}" ] || stop "it needs OIDC_ISSUER, with OIDC_AUDIENCE and ROLES_FILE: without, behind it nobody is asked who they are"
[ -z "${HOST:-}" ] || stop "HOST opens MLflow and Prefect beside the sign-in: leave it out; SECURE_HOST opens this proxy"
: "${MLFLOW_LOGIN:?}" "${PREFECT_LOGIN:?}"

# A certificate of one's own, or one of an authority that Caddy makes for itself.
certificate=${TLS_FILES:-/run/tls}
if [ -s "$certificate/cert.pem" ] && [ -s "$certificate/key.pem" ]; then
  TLS="$certificate/cert.pem $certificate/key.pem"
elif [ -s "$certificate/cert.pem" ] || [ -s "$certificate/key.pem" ]; then
  stop "TLS_CERT and TLS_KEY belong together, and user $(id -u) has to be able to read both"
else
  TLS=internal
fi

case ${SECURE_PORT:-8443} in 443) PORT_SUFFIX= ;; *) PORT_SUFFIX=:${SECURE_PORT:-8443} ;; esac
export TLS PORT_SUFFIX
export DOMAIN="${DOMAIN:-credit-risk.localhost}" LISTEN="${LISTEN:-8443}" BIND="${BIND:-0.0.0.0}"
export USER_HEADER="${USER_HEADER:-X-Forwarded-User}" GROUPS_HEADER="${GROUPS_HEADER:-X-Forwarded-Groups}"
export SIGN_IN="${SIGN_IN:-sign-in:4180}" RISKOMETER="${RISKOMETER:-proxy:9696}" APPROVALS="${APPROVALS:-approvals:9697}"
export REPORTS="${REPORTS:-evidently-exporter:8877}" MLFLOW="${MLFLOW:-mlflow:5051}" PREFECT="${PREFECT:-prefect-server:4200}"
export PROMETHEUS="${PROMETHEUS:-prometheus:9090}" ALERTMANAGER="${ALERTMANAGER:-alertmanager:9093}"
export GRAFANA="${GRAFANA:-grafana:3000}"
exec caddy run --config "$(dirname "$0")/secure.Caddyfile" --adapter caddyfile
