#!/bin/bash
# Apply what plan.sh has planned, if it is what was approved:  APPROVED=SHA256 apply.sh dev|prod
set -euo pipefail

environment=${1:?dev or prod}
export TF_IN_AUTOMATION=1 TF_INPUT=0 TF_CLI_ARGS=-no-color
cd "$(dirname "$0")/../terraform/envs/$environment"

planned=$(sha256sum <plan.txt | cut -d' ' -f1)
if [ "$planned" != "${APPROVED:?}" ]; then
  echo "This is another plan than the one that was approved: something has changed since. Start again." >&2
  exit 1
fi
terraform apply -lock-timeout=5m tfplan
