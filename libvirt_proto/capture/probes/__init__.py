"""Live traces: static probes in ELF notes, uprobe events of tracefs, and their records."""
