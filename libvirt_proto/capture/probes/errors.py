"""Errors that prevent a trace from starting."""

from __future__ import annotations

from ...errors import Error


class TraceError(Error):
    """A trace that cannot start; the text is a sentence with the remedy."""
