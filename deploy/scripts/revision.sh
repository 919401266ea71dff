#!/bin/bash
# Which revision of a Cloud Run service has the requests, and who gets them from now on, in PROJECT and REGION:
#   revision.sh current SERVICE             nothing is printed where there is no such service yet
#   revision.sh latest SERVICE
#   revision.sh restore SERVICE REVISION
set -euo pipefail

action=${1:-}
service=${2:?SERVICE is missing}
where=(--project "${PROJECT:?}" --region "${REGION:?}")

case $action in
current)
  # A list is empty where describing it would be an error, which could be any.
  gcloud run services list "${where[@]}" --filter "metadata.name=$service" --format json |
    jq --raw-output '.[0].status.traffic[]? | select(.percent == 100) | .revisionName'
  ;;
latest)
  gcloud run services update-traffic "$service" "${where[@]}" --to-latest
  ;;
restore)
  gcloud run services update-traffic "$service" "${where[@]}" --to-revisions "${3:?REVISION is missing}=100"
  ;;
*)
  sed -n '2,5s/^# //p' "$0" >&2
  exit 2
  ;;
esac
