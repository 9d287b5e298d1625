"""The comparison of one pass with the optimizer: runs, report, quality gate, similarity measures.

May import: everything but `cli`.
"""
