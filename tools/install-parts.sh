#!/bin/bash
# Install the real parts that the tests use and a laptop need not have: Chromium with its driver, Prometheus with promtool,
# its Alertmanager, two servers of MongoDB's protocol (mongo-java-server, FerretDB on SQLite), one of Cloud Storage's
# (fake-gcs-server), Caddy and oauth2-proxy, and gitleaks. What is on PATH already is left alone.
# Debian or Ubuntu, root or sudo; Go for FerretDB, fake-gcs-server, oauth2-proxy and gitleaks. BIN=/where/to/put/them
set -euo pipefail

if [ "${1:-}" = --help ] || [ "${1:-}" = -h ]; then sed -n '2,5s/^# //p' "$0"; exit; fi

BIN=${BIN:-/usr/local/bin}
FAKE_GCS_SERVER=v1.56.0
FERRETDB=v1.24.2
GITLEAKS=v8.30.1
MONGO_JAVA_SERVER=1.47.0
OAUTH2_PROXY=v7.15.6 # that of docker-compose.yml

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }
have() { command -v "$1" >/dev/null; }
say() { echo "[parts ${SECONDS}s] $*"; }

work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
export CGO_ENABLED=0 GOFLAGS="-buildvcs=false -trimpath"

packages=()
have chromium || have google-chrome || packages+=(chromium)
have chromedriver || packages+=(chromium-driver)
have caddy || packages+=(caddy)
{ have prometheus && have promtool; } || packages+=(prometheus)
{ have alertmanager || have prometheus-alertmanager; } || packages+=(prometheus-alertmanager)
# Maven fetches mongo-java-server, and javac compiles its start; it runs on Java 17 or newer, which the JDK brings.
have mongo-java-server || { have mvn || packages+=(maven); have javac || packages+=(default-jdk-headless); }
# What `make` itself needs: a Python that can make environments, and OpenMP for LightGBM's wheel.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
ldconfig -p | grep -q libgomp.so.1 || packages+=(libgomp1)
if [ ${#packages[@]} -gt 0 ]; then
  say "apt: ${packages[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${packages[@]}" \
    >"$work/apt.log" 2>&1 || { tail -20 "$work/apt.log" >&2; exit 1; }
fi

if ! have fake-gcs-server; then
  say "fake-gcs-server $FAKE_GCS_SERVER"
  GOBIN=$work/bin go install "github.com/fsouza/fake-gcs-server@$FAKE_GCS_SERVER"
  as_root install -D "$work/bin/fake-gcs-server" "$BIN/fake-gcs-server"
fi

if ! have ferretdb; then
  say "FerretDB $FERRETDB"
  module=$(cd "$work" && go mod download -json "github.com/FerretDB/FerretDB@$FERRETDB" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
  cp -r "$module" "$work/ferretdb-src"
  chmod -R u+w "$work/ferretdb-src"
  # The module leaves this file out, and the program panics without it.
  echo "$FERRETDB" >"$work/ferretdb-src/build/version/version.txt"
  (cd "$work/ferretdb-src" && go build -o "$work/bin/ferretdb" ./cmd/ferretdb)
  as_root install -D "$work/bin/ferretdb" "$BIN/ferretdb"
fi

if ! have mongo-java-server; then
  say "mongo-java-server $MONGO_JAVA_SERVER"
  lib=$work/java
  mkdir "$lib"
  # Its own main class takes no port.
  cat >"$work/Serve.java" <<'END'
public class Serve {
  public static void main(String[] args) {
    new de.bwaldvogel.mongo.InMemoryMongoServer().bind("127.0.0.1", Integer.parseInt(args[0]));
  }
}
END
  cat >"$work/pom.xml" <<END
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>parts</groupId>
  <artifactId>parts</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>de.bwaldvogel</groupId>
      <artifactId>mongo-java-server</artifactId>
      <version>$MONGO_JAVA_SERVER</version>
    </dependency>
  </dependencies>
</project>
END
  mvn -B -f "$work/pom.xml" -Dmaven.repo.local="$work/m2" dependency:copy-dependencies -DoutputDirectory="$lib" \
    >"$work/mvn.log" 2>&1 || { tail -20 "$work/mvn.log" >&2; exit 1; }
  javac -cp "$lib/*" -d "$lib" "$work/Serve.java"
  cat >"$work/mongo-java-server" <<'END'
#!/bin/sh
lib=$(dirname "$(realpath "$0")")/../lib/mongo-java-server
exec java -XX:+UseSerialGC -cp "$lib:$lib/*" Serve "$1"
END
  as_root install -D -m 644 -t "$BIN/../lib/mongo-java-server" "$lib"/*
  as_root install -D "$work/mongo-java-server" "$BIN/mongo-java-server"
fi

if ! have oauth2-proxy; then
  say "oauth2-proxy $OAUTH2_PROXY"
  GOBIN=$work/bin go install "github.com/oauth2-proxy/oauth2-proxy/v7@$OAUTH2_PROXY"
  as_root install -D "$work/bin/oauth2-proxy" "$BIN/oauth2-proxy"
fi

if ! have gitleaks; then
  say "gitleaks $GITLEAKS"
  GOBIN=$work/bin go install "github.com/zricethezav/gitleaks/v8@$GITLEAKS"
  as_root install -D "$work/bin/gitleaks" "$BIN/gitleaks"
fi

say "all parts are there"
