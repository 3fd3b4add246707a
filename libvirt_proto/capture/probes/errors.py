"""Errors that prevent a trace from starting."""

from __future__ import annotations

from ...errors import Error


class TraceError(Error):
    """A sentence for the user: what is missing, and what to do."""
