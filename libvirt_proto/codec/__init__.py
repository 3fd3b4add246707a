"""XDR (RFC 4506): types, their values, and both directions between values and bytes; formats and notations
that the generator reads, too.

Knows neither messages nor captures. The generator may import the modules that pyproject.toml lists; these
import nothing but the standard library.
"""
