"""Descriptions that the generator and the runtime share: formats of files and notations, as plain values.

A module belongs here if both packages need it and it imports nothing but the standard library and its
siblings. These are the only modules of the runtime that the generator may import; pyproject.toml lists each
edge.
"""
