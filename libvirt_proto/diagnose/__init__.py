"""Findings about a recording: what went wrong between clients and daemons, and why."""
