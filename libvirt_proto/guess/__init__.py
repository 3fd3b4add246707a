"""Guesses about bytes without context: the messages and payloads that they may be."""
