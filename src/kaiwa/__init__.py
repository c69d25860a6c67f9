"""Kaiwa: an open-source server for chat applications."""

__version__ = "0.1.0"
