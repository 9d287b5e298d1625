"""Networks that are ready to serve: the lite and the full edition.

Finds and reads model files and builds the graph. May import: `errors`, `telemetry`.
"""
