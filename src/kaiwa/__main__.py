"""The entry point: `kaiwa`, and `python -m kaiwa`.

Loading takes a moment; a Ctrl-C in it ends the program and needs no traceback.
"""

import signal

signal.signal(signal.SIGINT, signal.SIG_DFL)

from kaiwa.cli import main  # noqa: E402 - see above

signal.signal(signal.SIGINT, signal.default_int_handler)

if __name__ == "__main__":
    main()
