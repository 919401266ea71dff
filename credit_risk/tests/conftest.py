"""A decision log on each of its stores."""

import pytest

from credit_risk.decisions import open_log


@pytest.fixture(params=["sqlite + folder", "mongodb + bucket"])
def stores(request, settings):
    if request.param == "sqlite + folder":
        return settings
    urls = {"decision_log": request.getfixturevalue("mongodb_url"), "bucket": request.getfixturevalue("gcs_url")}
    return settings.model_copy(update=urls)


@pytest.fixture
def log(stores):
    return open_log(stores)
