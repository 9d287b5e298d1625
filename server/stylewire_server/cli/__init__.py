"""The command lines of `stylewire-server`: one module a command.

A module parses flags, calls the library and prints. It holds no logic that a library user would miss.
May import: every other package of the server.
"""
