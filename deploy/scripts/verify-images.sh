#!/bin/bash
# Check the images of IMAGES, a JSON object of names and addresses: each is in REGISTRY, named by digest, and signed by
# images.yml of GITHUB_REPOSITORY on main or on a release's tag. It needs `docker login` and GH_TOKEN.
set -euo pipefail

: "${IMAGES:?}" "${REGISTRY:?}"
jq --exit-status --arg registry "$REGISTRY" '
  type == "object" and length > 0 and all(to_entries[];
    (.key | test("\\A[a-z-]+\\z")) and (.value | type == "string") and
    ("\($registry)/\(.key)@sha256:" as $start | .value | startswith($start) and (ltrimstr($start) | test("\\A[0-9a-f]{64}\\z")))
  )' <<<"$IMAGES" >/dev/null || { echo "IMAGES is not what images.yml puts out for $REGISTRY: $IMAGES" >&2; exit 2; }
: "${GITHUB_REPOSITORY:?}"

while read -r image; do
  gh attestation verify "oci://$image" --repo "$GITHUB_REPOSITORY" --deny-self-hosted-runners \
    --signer-workflow "$GITHUB_REPOSITORY/.github/workflows/images.yml" --format json |
    jq --exit-status 'any(.[]; .verificationResult.signature.certificate.sourceRepositoryRef
      | test("^refs/(heads/main|tags/v[0-9].*)$"))' >/dev/null ||
    { echo "$image was not built by images.yml on main or on a release's tag" >&2; exit 1; }
  echo "$image"
done < <(jq --raw-output '.[]' <<<"$IMAGES")
