"""Targets: each turns a Schema into artefacts, independently of the others."""
