"""The cost that the optimizer minimizes: content and style costs, published presets, the compiled program.

May import: `vgg`, `errors`, `images`.
"""
