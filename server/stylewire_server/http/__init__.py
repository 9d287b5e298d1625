"""The domain over HTTP: the API below `/v1`, health for probes, and the files of the page in `web/`.

This package translates between HTTP and the domain, as `rpc` does for gRPC. It shares with `rpc` the tokens, the limit
on open calls, the queue, and the table of statuses. May import: `rpc`, `stylizer`, `scheduler`, `settings` and the
layers below them.
"""
