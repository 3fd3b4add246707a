"""strace output: its lines, the calls in them, and the sockets of traced processes."""
