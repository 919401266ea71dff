"""Scoring a bank's whole book: files of any size, in parts, on this machine or on Dask."""
