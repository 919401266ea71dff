"""Whether the service can decide; whether it lives at all, `app` says."""

from flask import Blueprint, Response, jsonify

from credit_risk.decision_log.log import DecisionLog
from model_deployment.scoring.live_model import Production


def blueprint(production: Production, log: DecisionLog, *, named: bool) -> Blueprint:
    """Return `/readyz`; `named`: it may tell everybody which version serves."""
    probes = Blueprint("probes", __name__)

    @probes.get("/readyz")
    def readyz() -> Response:
        """Answer when a model serves and the decision log can be written; else a problem says what is missing."""
        serving = production.require()
        log.ping()
        return jsonify(status="ready", model_version=serving.version) if named else jsonify(status="ready")

    return probes
