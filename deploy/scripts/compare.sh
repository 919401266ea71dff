#!/bin/bash
# Check that what plan.sh has planned is what was approved:  APPROVED=SHA256 compare.sh dev|prod
set -euo pipefail

planned=$(sha256sum <"$(dirname "$0")/../terraform/envs/${1:?dev or prod}/plan.txt" | cut -d' ' -f1)
if [ "$planned" != "${APPROVED:?}" ]; then
  echo "This is another plan than the one that was approved: something has changed since. Start again." >&2
  exit 1
fi
