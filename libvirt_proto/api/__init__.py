"""The Python API for captures: `open`, Capture, its messages and exchanges. The command line is a client."""
