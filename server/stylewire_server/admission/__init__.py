"""Admission of calls, the same for gRPC and HTTP: tokens, rates, open calls, bytes in memory.

Nothing here knows a wire. May import: `telemetry`, `statuses`, `errors`.
"""
