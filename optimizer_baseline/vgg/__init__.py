"""VGG-16 and VGG-19 as feature extractors: architecture, network, weights, rescaling, precision.

May import: `errors`, `images`.
"""
