"""libvirt's own log, in the forms in which people keep and quote it."""
