"""Staging labels, and the end of versions without any."""
