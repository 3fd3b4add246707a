"""Redaction: messages with what must not appear in a bug report blanked, length by length."""
