"""Pure values that every room shares: ARNs, principals, calls, actions, and the Protocols for clock and entropy.

Nothing here does I/O, reads a clock or draws random bytes, or imports a store, a wire format or another room.
"""
