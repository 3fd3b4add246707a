"""`python -m libvirt_proto`: the command line."""

from .cli.main import main

main(prog_name="libvirt-proto")
