"""What operators see: calls, stages, logs, metrics, traces.

May import: `errors`. Everything else may import this package.
"""
