"""Tuned styles: gradient descent on the scales and offsets of the served network, for one style picture.

May import: `objective`, `vgg`, `images`, `canvas`, `errors`, and the server's models, engine and style files.
"""
