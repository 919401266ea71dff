#!/bin/bash
# Build one target of the Dockerfile:  build-image.sh TARGET [REGISTRY/REPOSITORY/NAME]
# With an address the image is pushed by its digest, with an SBOM and its provenance beside it, and `digest=sha256:...` is
# printed. Without one it stays on this machine, as credit-risk-TARGET.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=${1:?TARGET is missing, such as risk-o-meter}
address=${2:-}
commit=$(git rev-parse HEAD)
options=(--target "$target" --build-arg "GIT_COMMIT=$commit" --label "org.opencontainers.image.revision=$commit")

if [ -z "$address" ]; then
  exec docker build "${options[@]}" --tag "credit-risk-$target" .
fi

# Only this driver of BuildKit can attach attestations.
builder=credit-risk
docker buildx inspect "$builder" >/dev/null 2>&1 || docker buildx create --name "$builder" --driver docker-container >&2

metadata=$(mktemp)
trap 'rm -f "$metadata"' EXIT
docker buildx build --builder "$builder" "${options[@]}" --platform linux/amd64 \
  --sbom=true --provenance=mode=max --metadata-file "$metadata" \
  --output "type=image,name=$address,push-by-digest=true,name-canonical=true,push=true" . >&2
jq --raw-output --exit-status '."containerimage.digest" | select(.) | "digest=\(.)"' "$metadata"
