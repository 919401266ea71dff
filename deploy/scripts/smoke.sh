#!/bin/bash
# Smoke test of an environment's Risk-O-Meter behind Google's IAP:  SMOKE_SERVICE_ACCOUNT=... smoke.sh dev|prod
# The caller may sign as that account (roles/iam.serviceAccountTokenCreator on it); IAP and ROLES_FILE let it in.
set -euo pipefail

here=$(realpath "$(dirname "$0")")
account=${SMOKE_SERVICE_ACCOUNT:?}
url=$(terraform -chdir="$here/../terraform/envs/${1:?dev or prod}" output -raw url)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
jq --null-input --arg account "$account" --arg audience "$url/*" \
  '{iss: $account, sub: $account, aud: $audience, iat: (now | floor), exp: (now + 900 | floor)}' >"$folder/claims.json"
gcloud iam service-accounts sign-jwt --iam-account="$account" "$folder/claims.json" "$folder/token"
SMOKE_TOKEN=$(<"$folder/token") python3 "$here/smoke.py" --token-header Proxy-Authorization "$url"
