#!/bin/bash
# Apply what plan.sh has planned, if it is what was approved:  APPROVED=SHA256 apply.sh dev|prod
set -euo pipefail

environment=${1:?dev or prod}
"$(dirname "$0")/compare.sh" "$environment"

export TF_IN_AUTOMATION=1 TF_INPUT=0 TF_CLI_ARGS=-no-color
cd "$(dirname "$0")/../terraform/envs/$environment"
terraform apply -lock-timeout=5m tfplan
