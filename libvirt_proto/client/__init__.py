"""A client of libvirt daemons: connections, calls, events and streams."""
