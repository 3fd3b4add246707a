"""What keeps a trace from beginning."""

from __future__ import annotations


class TraceError(Exception):
    """A sentence for the user: what is missing, and what to do."""
