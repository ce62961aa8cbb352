"""What stands between a socket and an action: the server, bodies, admission, the gate, readers, metrics, logs."""
