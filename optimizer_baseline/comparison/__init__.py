"""One pass against the optimizer: runs, report, quality gate, similarity measures.

May import: everything but `cli`.
"""
