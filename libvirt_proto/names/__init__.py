"""Names in libvirt's public API for numbers in payloads; the data files are next to the code."""
