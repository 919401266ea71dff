"""The readiness probe: whether the service can decide. `app` answers the liveness probe."""

from flask import Blueprint, Response, jsonify

from credit_risk.decision_log.log import DecisionLog
from model_deployment.scoring.live_model import LiveModel


def blueprint(production: LiveModel, log: DecisionLog, *, named: bool) -> Blueprint:
    """Return `/readyz`.

    Parameters
    ----------
    named : bool
        Whether its answer names the version that serves; everybody can read it.
    """
    probes = Blueprint("probes", __name__)

    @probes.get("/readyz")
    def readyz() -> Response:
        """Return success when a model serves and the log can be written, else a problem."""
        serving = production.require()
        log.ping()

        if named:
            return jsonify(status="ready", model_version=serving.version)
        return jsonify(status="ready")

    return probes
