"""HTTP/1.1 on the event loop's own thread: connections, their framing, and what they may cost before anybody has signed.

What it does. `Listener` accepts connections on one socket, with TLS where there are certificates, and hands each request to
a `Responder`, one of a connection at a time, the answers in order.

What it trusts. The operator's files and networks. Nothing that a peer sends: a message that two readers could frame in two
ways is refused, and so is each that is slower or larger than `Limits` says.

What it must never do. Look into a body, know an action, or let one peer's slowness take another's place: each address has so
many connections, and all bodies and answers that wait for their peers together have so much memory.
"""

from turnlock.shell.http.connection import Responder
from turnlock.shell.http.limits import Limits
from turnlock.shell.http.listener import Listener
from turnlock.shell.http.tls import Certificates

__all__ = ["Certificates", "Limits", "Listener", "Responder"]
