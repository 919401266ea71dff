#!/bin/bash
# Package the Helm chart as a version, and push it:  push-chart.sh 1.2.3 REGISTRY/REPOSITORY/charts
# Prints `digest=sha256:...`; the package, credit-risk-1.2.3.tgz, stays in the folder. It needs `helm registry login`.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=${1:?VERSION is missing}
address=${2:?ADDRESS is missing}
helm package deploy/helm/credit-risk --version "$version" --app-version "$version" >&2
said=$(helm push "credit-risk-$version.tgz" "oci://$address" 2>&1)
echo "$said" >&2
sed -nE 's/^Digest: (sha256:[0-9a-f]{64})$/digest=\1/p' <<<"$said" | grep .
