"""Records of calls and stages for operators: logs, metrics, traces.

May import: `errors`. Everything else may import this package.
"""
