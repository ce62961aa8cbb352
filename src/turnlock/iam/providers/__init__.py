"""OpenID Connect providers: their actions, their rows, their keys, and the reading of their tokens."""
