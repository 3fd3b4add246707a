"""The entry point of the program, also for `python -m libvirt_proto`.

During imports there is nothing to clean up: SIGINT ends the process at once, without the traceback of a
KeyboardInterrupt. `cli.signals` handles it from then on.
"""

import gc
import sys

# Objects between two garbage collections. Python's 700 make it search the modules a hundred times while they
# are loaded, a tenth of the start. Messages contain no cycles, so that little garbage waits for it.
gc.set_threshold(50_000)

try:
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from libvirt_proto.cli.main import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    main(prog_name="libvirt-proto")
