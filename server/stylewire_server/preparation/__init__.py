"""Offline work that is done once: fetch the full model, convert it, quantize it.

May import: `engine`, `imaging`, `models`, `errors`, `telemetry`. The server does not import this package to serve.
"""
