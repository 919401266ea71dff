"""Watching decisions: drift, Evidently's report, the metrics exporter."""
