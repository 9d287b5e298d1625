"""Decoding and encoding of pictures within limits, with color profiles and sizes.

May import: `errors`, `telemetry`. Knows no styles, no engine and no wire format.
"""
