"""Engines run a network: arrays in, arrays out. They know no image files and no gRPC."""
