"""Admission of calls, the same for gRPC and HTTP: tokens, rates, open calls, bytes in memory.

This package does not use gRPC's or HTTP's server. May import: `telemetry`, `statuses`, `errors`.
"""
