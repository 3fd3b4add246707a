"""Bytes without context to what they may be: messages, headers, payloads; each with its evidence."""
