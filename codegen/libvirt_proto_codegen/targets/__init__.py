"""Targets: each turns a Schema into artefacts, and knows none of the others."""
