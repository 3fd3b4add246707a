"""libvirt's RPC: framing, message header and payload, and the names of their numbers."""
