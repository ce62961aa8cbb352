"""`python -m bench`: how fast GetSecretValue is, beside the bare HTTP server it stands on.

What it does: starts Turnlock (one worker, SQLite, the durable record on) and the same HTTP server with the same settings
that reads the same bodies and answers a constant of the same size; sends both the same signed requests, all distinct, in
interleaved rounds; prints medians, latencies and their ratio. Only 127.0.0.1, bounded in count and time.
What it trusts: the machine to be otherwise idle. What it must never do: send a request twice inside a measured run of
Turnlock without saying so, or measure a store that does not reach a disk.
"""
