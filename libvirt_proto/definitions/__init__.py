"""Definitions at run time: programs and procedures, compilation in memory, and the history of releases."""
