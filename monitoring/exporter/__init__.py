"""The figures as Prometheus reads them, and the pages of the reports."""
