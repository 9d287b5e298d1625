"""Bytes to pixels to bytes, within limits: decoding, colour profiles, sizes, encoding.

May import: `errors`, `telemetry`. Knows no styles, no engine, no wire.
"""
