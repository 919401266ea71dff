"""The Risk-O-Meter as a Flask app."""

from flask import Flask, Response

from credit_risk.decisions import DecisionLog, open_log
from credit_risk.registry import Registry
from credit_risk.settings import Settings, words
from model_deployment import api, docs, page, probes, problems, sweeping
from model_deployment.encoding import Json
from model_deployment.express import Express
from model_deployment.guard import Guard
from model_deployment.metrics import Metrics
from model_deployment.receiving import Receiver
from model_deployment.scoring import Scoring
from model_deployment.serving import Production

# On every answer.
HARDENED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def create_app(
    settings: Settings | None = None, *, production: Production | None = None, log: DecisionLog | None = None
) -> Flask:
    """Return the app: page, API, probes and metrics.

    Parameters
    ----------
    settings : Settings, optional
        Read from the environment when not given.
    production : Production, optional
        What tells which model serves. When not given, one is made and started: gunicorn calls this in each worker
        process, after the fork, where its thread belongs.
    log : DecisionLog, optional
        Opened as the settings say when not given.
    """
    settings = settings or Settings()
    log = log or open_log(settings)
    if production is None:
        registry = Registry(settings.mlflow_tracking_uri, settings.model_name)
        production = Production(registry, log, settings.model_poll_seconds)
        production.start()
        sweeping.start(log)
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_upload_mb * 1_000_000
    app.config["USER_HEADER"] = settings.user_header
    app.config["TRUSTED_PROXIES"] = words(settings.trusted_proxies)
    app.json = Json(app)
    metrics = Metrics()
    metrics.watch(app)
    guard = Guard(words(settings.allowed_hosts), words(settings.api_keys.get_secret_value()))
    guard.register(app)
    receiver = Receiver(settings.riskometer_uploads)
    receiver.register(app)
    scoring = Scoring(production, log, metrics, settings.max_explained_rows)
    app.register_blueprint(api.blueprint(scoring, production, log))
    app.register_blueprint(docs.blueprint(app.config["MAX_CONTENT_LENGTH"]))
    app.register_blueprint(probes.blueprint(production, log))
    policy = page.attach(app, production, log, scoring)
    problems.register(app)

    hardened = HARDENED | {"Content-Security-Policy": policy}

    @app.after_request
    def harden(response: Response) -> Response:
        for name, value in hardened.items():
            response.headers.setdefault(name, value)
        return response

    app.wsgi_app = Express(app, guard, receiver, scoring, metrics, hardened | api.PRIVATE)  # type: ignore[method-assign]
    return app
