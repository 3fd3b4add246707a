"""XDR (RFC 4506): types, their values, and both directions between values and bytes.

Knows neither messages nor files.
"""
