"""Kinds of JSON documents that monitoring leaves in the log."""

REFRESH = "refresh"
REPORT = "report"
