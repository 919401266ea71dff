#!/bin/bash
# Print values for the Helm chart that name each of its images by digest, as JSON, which is YAML. IMAGES, a JSON object of
# names and addresses, is what images.yml puts out.
set -euo pipefail
cd "$(dirname "$0")/../helm/credit-risk"

# The chart takes no values that it does not know, so only what has an image there: riskOMeter is risk-o-meter.
awk '/^[A-Za-z]+:/ {sub(":.*", ""); key = $0} /^  image: / {print key}' values.yaml |
  jq --raw-input --slurp --argjson images "${IMAGES:?}" '
    split("\n") | map(select(. != "")) | map({
      key: .,
      name: gsub("(?<capital>[A-Z])"; "-\(.capital | ascii_downcase)")
    }) | map(. + {address: ($images[.name] // error("IMAGES has no \(.name)"))}) |
    {registry: (.[0].address | split("@")[0] | split("/")[:-1] | join("/"))} +
    (map({key, value: {image: {digest: (.address | split("@")[1])}}}) | from_entries)'
