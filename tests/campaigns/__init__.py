"""Runs of minutes to hours that try to break the product, each `python -m tests.campaigns.NAME`."""
