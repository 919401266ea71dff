"""Whether the process lives, and whether it can decide."""

from flask import Blueprint, Response, jsonify

from credit_risk.decisions import DecisionLog
from model_deployment.serving import Production


def blueprint(production: Production, log: DecisionLog) -> Blueprint:
    """Return `/healthz` and `/readyz`."""
    probes = Blueprint("probes", __name__)

    @probes.get("/healthz")
    def healthz() -> Response:
        """Answer; that is all it takes to live."""
        return jsonify(status="ok")

    @probes.get("/readyz")
    def readyz() -> Response:
        """Answer when a model serves and the decision log can be written; else a problem says what is missing."""
        serving = production.require()
        log.ping()
        return jsonify(status="ready", model_version=serving.version)

    return probes
