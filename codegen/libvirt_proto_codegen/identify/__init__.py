"""Identification of definitions, tapsets and binaries: which of the bundled releases fit.

Each kind of input becomes sets of facts that a release has as well: declarations, names of procedures, types,
probes. A release fits if the sets are equal.
"""
