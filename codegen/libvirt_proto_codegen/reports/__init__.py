"""Findings → text for people, JSON, GitHub's workflow commands, JUnit's XML."""
