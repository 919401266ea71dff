"""What the exporter has collected, and what it serves of that."""

from prometheus_client.parser import text_string_to_metric_families

from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import Registry
from monitoring.exporter.collector import Refresher
from monitoring.exporter.figures import Figures, page


def refresher(settings) -> Refresher:
    return Refresher(open_log(settings), Registry(settings.mlflow_tracking_uri, settings.model_name), settings)


def samples(figures: Figures) -> dict[tuple[str, ...], float]:
    """Return what is served, by name and label values."""
    families = text_string_to_metric_families(page(figures).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
