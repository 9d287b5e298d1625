"""The life of a server process: start, listen, serve, reload, drain, exit.

One process or several on one port, addresses, TLS files, systemd, loading the model and the styles folder.
May import: every package but `cli`.
"""
