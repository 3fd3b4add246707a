"""The entry point of the program, also for `python -m libvirt_proto`.

During imports there is nothing to clean up: SIGINT ends the process at once, without the traceback of a
KeyboardInterrupt. `cli.signals` handles it from then on.
"""

import sys

try:
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from libvirt_proto.cli.main import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    main(prog_name="libvirt-proto")
