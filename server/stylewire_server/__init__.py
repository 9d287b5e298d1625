"""The stylewire server: neural style transfer over gRPC."""

from importlib.metadata import version

__version__ = version("stylewire")
