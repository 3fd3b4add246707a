"""Redaction: blank what must not appear in a bug report in messages, and keep every length."""
