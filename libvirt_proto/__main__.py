"""The entry point of the program, also for `python -m libvirt_proto`.

During imports there is nothing to clean up: SIGINT ends the process at once, without the traceback of a
KeyboardInterrupt. `cli.signals` handles it from then on.
"""

import gc
import sys

# Objects between two garbage collections. Python's 700 make it search the modules a hundred times while they
# are loaded, a tenth of the start. Messages contain no cycles, so that little garbage waits for it.
gc.set_threshold(50_000)

# pyarrow imports these if they are installed, which takes a third of the time of a table of 200,000 messages.
# Nothing here needs them.
for name in ("numpy", "pandas"):
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]

try:
    import signal

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from libvirt_proto.cli.main import main
except KeyboardInterrupt:
    sys.exit(130)

if __name__ == "__main__":
    main(prog_name="libvirt-proto")
