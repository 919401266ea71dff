#!/bin/bash
# Install what checks deploy/ and the workflows: terraform, helm, conftest, kubeconform with the schemas of Kubernetes and of
# the Prometheus operator, actionlint, zizmor, shellcheck, jq. What is on PATH already is left alone.
# Debian or Ubuntu, root or sudo; Go, and Python with venv. BIN=/where/to/put/them
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then sed -n '2,4s/^# //p' "$0"; exit; fi

BIN=${BIN:-/usr/local/bin}
ACTIONLINT=v1.7.12
CONFTEST=v0.71.1
HELM=v3.22.0
KUBECONFORM=v0.8.0
TERRAFORM=v1.5.7
ZIZMOR=1.32.0

# The schemas of two versions of Kubernetes: the oldest that the chart promises to run on, and the newest.
KUBERNETES=(v1.30.0 v1.37.0)
KUBERNETES_VALIDATE=1.37.0 # on PyPI, which carries them
KUBERNETES_VALIDATE_SHA256=85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9
PROMETHEUS_OPERATOR=v0.85.0 # the newest whose module has its resources beside the code

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
have() { command -v "$1" >/dev/null; }
say() { echo "[deploy tools ${SECONDS}s] $*"; }

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath" GOBIN=$work/bin

build() { # build PROGRAM PACKAGE@VERSION [OPTIONS of the linker]
  have "$1" && return
  say "$1: $2"
  go install -ldflags "-s -w ${3:-}" "$2"
  as_root install -D "$GOBIN/$1" "$BIN/$1"
}

packages=()
have shellcheck || packages+=(shellcheck)
have jq || packages+=(jq)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
if [ ${#packages[@]} -gt 0 ]; then
  say "apt: ${packages[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" \
    >"$work/apt.log" 2>&1 || { tail -20 "$work/apt.log" >&2; exit 1; }
fi

build actionlint "github.com/rhysd/actionlint/cmd/actionlint@$ACTIONLINT"
build kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@$KUBECONFORM"
# As its releases are built; otherwise it takes a cluster that it does not ask for one of version 1.20.
k8s=helm.sh/helm/v3/pkg
build helm "helm.sh/helm/v3/cmd/helm@$HELM" "-X $k8s/chartutil.k8sVersionMajor=1 -X $k8s/chartutil.k8sVersionMinor=37
  -X $k8s/lint/rules.k8sVersionMajor=1 -X $k8s/lint/rules.k8sVersionMinor=37"
build conftest "github.com/open-policy-agent/conftest@$CONFTEST"
build terraform "github.com/hashicorp/terraform@$TERRAFORM"

pip() { # pip ARGUMENTS, of a Python of its own
  [ -d "$work/venv" ] || python3 -m venv "$work/venv"
  "$work/venv/bin/pip" --quiet --disable-pip-version-check "$@"
}

if ! have zizmor; then
  say "zizmor $ZIZMOR"
  pip install --no-deps --only-binary :all: "zizmor==$ZIZMOR" # a program, in no need of Python
  as_root install -D "$work/venv/bin/zizmor" "$BIN/zizmor"
fi

if ! have kubeconform-offline; then
  say "schemas of Kubernetes ${KUBERNETES[*]} and of the Prometheus operator $PROMETHEUS_OPERATOR"
  echo "kubernetes-validate==$KUBERNETES_VALIDATE --hash=sha256:$KUBERNETES_VALIDATE_SHA256" >"$work/requirements.txt"
  pip download --no-deps --require-hashes --dest "$work" --requirement "$work/requirements.txt"
  operator=$(cd "$work" && go mod download -json "github.com/prometheus-operator/prometheus-operator@$PROMETHEUS_OPERATOR" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  # Kubernetes' schemas point to their definitions on the web: here, to the file beside them. A resource of the operator may
  # not have fields that its schema does not name, as those of Kubernetes in their strict shape may not.
  python3 - "$work" "$operator/jsonnet/prometheus-operator" "${KUBERNETES[@]}" <<'END'
import json, sys, zipfile
from pathlib import Path

work, operator, versions = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
(wheel,) = work.glob("kubernetes_validate-*.whl")
with zipfile.ZipFile(wheel) as packed:
    for version in versions:
        folder = work / "schemas" / version
        folder.mkdir(parents=True)
        here = f"kubernetes_validate/kubernetes-json-schema/{version}-local-strict/"
        for name in packed.namelist():
            if name.startswith(here) and name.endswith(".json"):
                text = packed.read(name).decode().replace('"/api/_definitions.json#', '"_definitions.json#')
                schema = json.loads(text)
                schema.pop("$id", None)
                (folder / name.removeprefix(here)).write_text(json.dumps(schema))


def close(schema):
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        for part in schema.values():
            close(part)
    elif isinstance(schema, list):
        for part in schema:
            close(part)


folder = work / "schemas" / "operator"
folder.mkdir()
for kind in ("servicemonitor", "prometheusrule"):
    resource = json.loads((operator / f"{kind}s-crd.json").read_text())
    for version in resource["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        schema["properties"]["metadata"] = {"type": "object"}
        close({key: part for key, part in schema["properties"].items() if key != "metadata"})
        schema["additionalProperties"] = False
        (folder / f"{kind}-monitoring-{version['name']}.json").write_text(json.dumps(schema))
END
  cat >"$work/kubeconform-offline" <<'END'
#!/bin/sh
# kubeconform with the schemas beside it: kubeconform-offline -kubernetes-version 1.37.0 FILE
schemas=$(dirname "$(realpath "$0")")/../share/kubernetes-schemas
exec kubeconform -strict \
  -schema-location "$schemas/{{ .NormalizedKubernetesVersion }}/{{ .ResourceKind }}{{ .KindSuffix }}.json" \
  -schema-location "$schemas/operator/{{ .ResourceKind }}{{ .KindSuffix }}.json" "$@"
END
  for folder in "$work"/schemas/*; do
    as_root install -D -m 644 -t "$BIN/../share/kubernetes-schemas/$(basename "$folder")" "$folder"/*.json
  done
  as_root install -D "$work/kubeconform-offline" "$BIN/kubeconform-offline"
fi

say "all deploy tools are there"
