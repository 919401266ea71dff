"""Kinds of JSON documents that monitoring stores in the decision log."""

REFRESH = "refresh"
REPORT = "report"
