"""Probe providers (`libvirt_probes.d`): text → Provider → Tapset, which knows where each probe is."""
