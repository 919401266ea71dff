"""The files that the page offers: an empty template, and some clients to try."""

from flask import Flask, Response

from credit_risk.schema.attributes import CLIENT_ID
from credit_risk.schema.dataset import Dataset
from model_deployment.scoring.live_model import LiveModel

TEMPLATE = "/assets/template.csv"
SAMPLE = "/assets/sample.csv"


def offer(app: Flask, production: LiveModel, sample: bytes) -> None:
    """Add the routes; there is no sample where it is empty."""
    app.add_url_rule(TEMPLATE, "template", lambda: _csv(_template(production.dataset)))
    if sample:
        app.add_url_rule(SAMPLE, "sample", lambda: _csv(sample))


def _template(dataset: Dataset) -> bytes:
    """Return a file with the columns of an application and no rows."""
    return (",".join((CLIENT_ID, *dataset.names)) + "\n").encode()


def _csv(data: bytes) -> Response:
    return Response(data, mimetype="text/csv")
