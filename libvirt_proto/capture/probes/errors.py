"""Errors that prevent a trace from starting."""

from __future__ import annotations


class TraceError(Exception):
    """A trace that cannot start; the text is a sentence with the remedy."""
