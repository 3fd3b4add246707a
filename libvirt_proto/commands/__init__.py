"""The subcommands, one module each; `libvirt_proto.cli` imports them when they are run."""
