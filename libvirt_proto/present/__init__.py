"""Messages as text: `pretty` for people, `monitor` as libvirt's rpc-monitor, `jsonl` for programs."""
