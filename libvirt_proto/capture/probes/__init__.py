"""libvirt's static probes, live: found in ELF notes, set as uprobe events of tracefs, read as Items."""
