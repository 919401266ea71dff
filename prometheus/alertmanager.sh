#!/bin/sh
# Write the Alertmanager's configuration from the environment, since it reads none itself, and become the Alertmanager:
#     alertmanager.sh /path/of/alertmanager.yml alertmanager --its-options
# ALERT_WEBHOOK_URL   who gets each alert as JSON by POST
# ALERT_MAIL_TO       who gets it by mail, through SMTP_HOST (host:port), from ALERT_MAIL_FROM
# SMTP_USER, SMTP_PASSWORD   where the mail server wants them; SMTP_TLS=false where it is one without TLS
# Without any of them, alerts are on its page only. A secret may be in a file: ALERT_WEBHOOK_URL_FILE, SMTP_PASSWORD_FILE.
set -eu
umask 077

config=$1
shift

quoted() { printf "'%s'" "$(printf %s "$1" | sed "s/'/''/g")"; } # as YAML
secret() { if [ -n "$2" ]; then cat "$2"; else printf %s "$1"; fi; }

if [ -n "${ALERT_MAIL_TO:-}" ]; then
  : "${SMTP_HOST:?ALERT_MAIL_TO needs SMTP_HOST, such as smtp.example.com:587}"
fi
webhook=$(secret "${ALERT_WEBHOOK_URL:-}" "${ALERT_WEBHOOK_URL_FILE:-}")
password=$(secret "${SMTP_PASSWORD:-}" "${SMTP_PASSWORD_FILE:-}")

{
  cat <<'END'
# Written by alertmanager.sh at each start.
route:
  receiver: ops
  group_by: [alertname]
  group_wait: 10s
  group_interval: 5m
  repeat_interval: 24h
  routes:
    - {matchers: [severity = critical], receiver: ops, repeat_interval: 2h}
inhibit_rules:
  # What is missing because of a bigger trouble is not told as well.
  - {source_matchers: [alertname = DecisionLogDown], target_matchers: ['alertname =~ "ScoringErrors|FiguresOld|FlowFailed"']}
  - {source_matchers: [alertname = NoProductionModel], target_matchers: ['alertname =~ "ScoringErrors|FiguresOld"']}
receivers:
  - name: ops
END
  if [ -n "$webhook" ]; then
    printf '    webhook_configs:\n      - {send_resolved: true, url: %s}\n' "$(quoted "$webhook")"
  fi
  if [ -n "${ALERT_MAIL_TO:-}" ]; then
    printf '    email_configs:\n      - send_resolved: true\n'
    printf '        to: %s\n' "$(quoted "$ALERT_MAIL_TO")"
    printf '        from: %s\n' "$(quoted "${ALERT_MAIL_FROM:-$ALERT_MAIL_TO}")"
    printf '        smarthost: %s\n' "$(quoted "$SMTP_HOST")"
    printf '        require_tls: %s\n' "${SMTP_TLS:-true}"
    if [ -n "${SMTP_USER:-}" ]; then
      printf '        auth_username: %s\n        auth_password: %s\n' "$(quoted "$SMTP_USER")" "$(quoted "$password")"
    fi
  fi
} >"$config"

exec "$@" "--config.file=$config"
