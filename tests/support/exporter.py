"""A collector over a log, and the samples that the exporter serves."""

from prometheus_client.parser import text_string_to_metric_families

from credit_risk.decision_log.log import open_log
from credit_risk.registry.registry import Registry
from monitoring.exporter.collector import Collector
from monitoring.exporter.gauges import page
from monitoring.exporter.measurements import Measurements


def make_collector(settings) -> Collector:
    return Collector(
        open_log(settings), Registry(settings.mlflow_tracking_uri, settings.model_name), settings
    )


def samples(figures: Measurements) -> dict[tuple[str, ...], float]:
    """Return the samples of a page of metrics, by name and label values."""
    families = text_string_to_metric_families(page(figures).decode())
    return {(s.name, *s.labels.values()): s.value for family in families for s in family.samples}
