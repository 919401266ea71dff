#!/bin/bash
# Write into a folder what only somebody who reaches the registries can know:  pins.sh FOLDER
#   images.txt                      the digest of each image that Dockerfile and docker-compose.yml name by its release
#   dev.lock.hcl, prod.lock.hcl     .terraform.lock.hcl of each environment, with the providers' hashes
set -euo pipefail
mkdir -p "${1:?FOLDER is missing}"
out=$(realpath "$1")
cd "$(dirname "$0")/../.."

{ sed -nE 's/^FROM ([^ ]+:[^ ]+).*/\1/p' Dockerfile; sed -nE 's/^ +image: ([a-z][^ $]*:[^ $]+).*/\1/p' docker-compose.yml; } |
  sort --unique | while read -r image; do
  echo "$image@$(docker buildx imagetools inspect "$image" --format '{{.Manifest.Digest}}')"
done >"$out/images.txt"

for folder in deploy/terraform/envs/*/; do
  terraform -chdir="$folder" get
  terraform -chdir="$folder" providers lock -platform=linux_amd64 -platform=linux_arm64 -platform=darwin_arm64
  cp "$folder/.terraform.lock.hcl" "$out/$(basename "$folder").lock.hcl"
done
