"""Bytes as text to bytes: hex, dumps, literals of programming languages, base64."""
