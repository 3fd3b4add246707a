"""Bytes without context to the messages and payloads that they may be."""
