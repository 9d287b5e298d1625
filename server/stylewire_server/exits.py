"""Exit codes of `serve` beyond 0."""

REFUSED = 1
"""A file, model or address cannot be used. It would be refused again: somebody has to look first."""

CRASHED = 70
"""EX_SOFTWARE of sysexits.h. A supervisor starts the server again."""
