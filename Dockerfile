# One image for each of our services, each with only its own dependency group of pyproject.toml, from the committed lock.
#
#   base -> passwords                                                       the standard library alone
#   base -> mlflow, prefect-server                                          no more of ours than how they are started
#   base -> common -> training-worker, risk-o-meter, ...                    share the layer of what credit_risk imports
#   base -> build                                                           has uv; only mounted, never part of an image
#   proxy, secure-proxy                                                     Caddy alone

FROM python:3.11.15-slim-bookworm AS base
# Nothing phones home. HOME is /tmp because that is what is writable where the root is read-only.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    DO_NOT_TRACK=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    GIT_PYTHON_REFRESH=quiet
RUN useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY --chmod=755 tools/with-secrets.sh /usr/local/bin/with-secrets
ENTRYPOINT ["with-secrets"]
WORKDIR /app

# A new volume takes the owner of the folder that it is mounted on.
FROM base AS passwords
RUN install --directory --owner=app --group=app --mode=755 /secrets
COPY tools/access/passwords.py tools/access/handout.py tools/access/
USER app

FROM base AS build
RUN pip install --no-cache-dir uv==0.13.9
COPY pyproject.toml uv.lock /project/
# Bytecode is compiled here: a container with a read-only root would otherwise compile MLflow anew at every start.
COPY --chmod=755 <<'SH' /sync
#!/bin/sh
set -eu
UV_PROJECT_ENVIRONMENT=/opt/venv UV_CACHE_DIR=/var/cache/uv UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never \
    /build/usr/local/bin/uv sync --project /build/project --frozen --no-progress "$@"
cd /opt/venv/lib/python3*/site-packages
# What nothing here reads: tests of libraries, headers, Arrow's remote calls, add-ons of Jupyter, maps of browser code.
for package in numba numpy pandas pyarrow scipy sklearn; do
    test ! -d $package || find $package -type d -name tests -prune -exec rm -rf {} +
done
rm -rf pyarrow/include pyarrow/*flight* jupyterlab_plotly ../../../share/jupyter
find . -path './dash*' -name '*.map' -delete
SH

FROM base AS mlflow
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --only-group mlflow
COPY tools/access/exposure.py tools/access/passwords.py tools/access/
COPY tools/servers/mlflow_server.py tools/servers/
USER app

FROM base AS prefect-server
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --only-group prefect
COPY tools/servers/prefect_server.py tools/servers/
USER app

FROM base AS common
# LightGBM's wheel needs OpenMP, which slim images lack.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin
RUN install --directory --owner=app --group=app --mode=700 /var/lib/credit-risk
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups

# Also the image of the one-shot jobs; `deployments` reads every flow, hence `monitoring` and `model_deployment`.
FROM common AS training-worker
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups --group training
COPY prefect.yaml ./
COPY data data
COPY tools/create_bucket.py tools/
COPY tools/access/mongo_roles.py tools/access/mongo-roles.json tools/access/
COPY tools/state/keeper.py tools/state/
COPY credit_risk credit_risk
COPY model_orchestration_and_tracking model_orchestration_and_tracking
COPY monitoring monitoring
COPY model_deployment model_deployment
ARG GIT_COMMIT=unknown
ENV GIT_COMMIT=$GIT_COMMIT
USER app

FROM common AS reporting-worker
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups --group reporting
COPY data data
COPY credit_risk credit_risk
COPY monitoring monitoring
USER app

FROM common AS risk-o-meter
# The page's charts are dictionaries, and its script comes with Dash: of Plotly, neither classes nor script are used.
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups --group web \
    && cd /opt/venv/lib/python3*/site-packages/plotly && rm -rf validators package_data graph_objs/*/
COPY data data
COPY credit_risk credit_risk
COPY model_deployment model_deployment
USER app

# Also the image of Dask's scheduler and workers.
FROM common AS scoring-worker
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups --group scale
COPY tools/servers/dask_worker.py tools/servers/
COPY data data
COPY credit_risk credit_risk
COPY model_deployment model_deployment
USER app

FROM common AS evidently-exporter
RUN --mount=from=build,target=/build --mount=type=cache,target=/var/cache/uv /build/sync --no-default-groups --group exporter
COPY data data
COPY credit_risk credit_risk
COPY monitoring monitoring
USER app

FROM debian:12.12-slim AS proxy
ENV HOME=/tmp
RUN apt-get update && apt-get install -y --no-install-recommends caddy && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin \
    && useradd --uid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin app
COPY tools/proxy/Caddyfile tools/proxy/start.sh /etc/caddy/
USER app

# A new volume takes the owner of the folder that it is mounted on.
FROM proxy AS secure-proxy
USER root
ENV XDG_DATA_HOME=/data
RUN install --directory --owner=app --group=app --mode=700 /data
COPY --chmod=755 tools/with-secrets.sh /usr/local/bin/with-secrets
COPY tools/proxy/secure.Caddyfile tools/proxy/secure.sh /etc/caddy/
ENTRYPOINT ["with-secrets"]
USER app
