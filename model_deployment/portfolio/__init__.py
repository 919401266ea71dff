"""Scoring a bank's whole portfolio: files of any size, in parts, on this machine or on Dask."""
