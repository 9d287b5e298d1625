"""Pictures of the inside of a VGG: the responses of its units, and reconstructions from a layer."""
