"""The command line of `stylewire-server`: one module for each command.

A module parses flags, calls the library and prints. It has no logic that a library user would need.
May import: every other package of the server.
"""
