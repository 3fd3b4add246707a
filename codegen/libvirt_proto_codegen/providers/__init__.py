"""Probe providers (`libvirt_probes.d`): parsing them, locating their probes, and printing them."""
