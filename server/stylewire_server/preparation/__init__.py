"""Preparation of the full model, done once and offline: fetch, convert, quantize.

May import: `engine`, `imaging`, `models`, `errors`, `telemetry`. The server does not import this package to serve.
"""
