"""Names that libvirt's public API has for numbers in payloads; the data files are next to the code."""
