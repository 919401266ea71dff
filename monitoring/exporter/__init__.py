"""The figures that Prometheus reads, and the pages of the reports."""
