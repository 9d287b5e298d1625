"""Runs a network on arrays: predict a style vector, transform a picture.

OpenVINO and TensorFlow engines, and the watchdog that detects a crashed engine. Knows no files and no wire.
May import: `models`, `errors`, `telemetry`.
"""
