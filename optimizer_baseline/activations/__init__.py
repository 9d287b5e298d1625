"""A look inside a VGG: what its units respond to, and what a layer remembers of a picture."""
