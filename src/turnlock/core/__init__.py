"""Pure values that every room shares: ARNs, principals, calls, actions, and the Protocols for clock and entropy.

Nothing here does I/O, reads a clock or draws random bytes; nothing here knows a store, a wire format or an area.
"""
