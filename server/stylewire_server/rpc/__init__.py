"""gRPC: wire messages to domain values and back.

Servicers, the call interceptor, tokens, message conversion, status codes.
May import: `stylizer`, `scheduler`, `telemetry`, `errors` and what these use. Never `runtime` or `cli`.
"""
