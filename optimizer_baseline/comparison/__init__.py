"""One pass against the optimiser: runs, report, quality gate, similarity measures.

May import: everything but `cli`.
"""
