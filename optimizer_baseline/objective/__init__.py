"""The cost that the optimiser minimises: content and style costs, published presets, the compiled program.

May import: `vgg`, `errors`, `images`.
"""
