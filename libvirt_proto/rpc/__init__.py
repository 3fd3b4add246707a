"""libvirt's RPC: framing, message header and payload, names of their numbers, calls paired with replies."""
