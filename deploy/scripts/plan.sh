#!/bin/bash
# Plan an environment with Terraform:  STATE_BUCKET=... plan.sh dev|prod
# Writes tfplan and plan.txt into its folder, and prints `sha256=...` of the latter: two plans that would do the same have
# the same. IMAGES (JSON) are the images to run; without, those that run. LOCK=false where the state cannot be written.
set -euo pipefail

environment=${1:?dev or prod}
export TF_IN_AUTOMATION=1 TF_INPUT=0 TF_CLI_ARGS=-no-color
cd "$(dirname "$0")/../terraform/envs/$environment"

lockfile=()
[ ! -f .terraform.lock.hcl ] || lockfile=(-lockfile=readonly)
terraform init -backend-config="bucket=${STATE_BUCKET:?}" "${lockfile[@]}" >&2

images=${IMAGES:-$(terraform output -json | jq '.images.value // {}')}
jq --null-input --argjson images "$images" '{$images}' >images.auto.tfvars.json

terraform plan -lock="${LOCK:-true}" -lock-timeout=5m -out=tfplan >&2
terraform show tfplan >plan.txt
echo "sha256=$(sha256sum <plan.txt | cut -d' ' -f1)"
