"""A client of libvirt's daemons: connections, calls, events and streams."""
