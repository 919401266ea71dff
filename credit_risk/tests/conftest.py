"""A decision log on each of its stores."""

import pytest

from credit_risk.decisions import open_log


@pytest.fixture(params=["sqlite + folder", "mongodb + bucket"])
def stores(request, settings, on_servers):
    return settings if request.param == "sqlite + folder" else on_servers(settings)


@pytest.fixture
def log(stores):
    return open_log(stores)
