"""Styles: style vectors and their cache, named styles, their file format, storage and thumbnails.

May import: `imaging`, `models`, `errors`, `telemetry`.
"""
