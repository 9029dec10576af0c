"""The process of one run: `python -m fdfo.comparison.one_run CONFIG.yaml FOLDER`.

It is an ordinary training, but for two things: it stops, saving its state, when the process that started it is gone;
and it waits where another process is still training in the folder.
"""

import os
import signal
import sys
import threading
from pathlib import Path

from fdfo.config.load import load_config
from fdfo.errors import FdfoError
from fdfo.training.interrupt import Interrupted
from fdfo.training.loop import train
from fdfo.visible import visible


def main() -> int:
    """The exit code: 128 + signal number after an interruption, 1 for an error that the last line of output tells."""
    config, folder = Path(sys.argv[1]), Path(sys.argv[2])
    threading.Thread(target=_stop_with_parent, daemon=True).start()
    try:
        train(load_config(config), folder, waits=True)
    except Interrupted as interrupted:
        return 128 + interrupted.signal_number
    except FdfoError as error:
        print(f"error: {visible(' '.join(str(error).split()))}", flush=True)
        return 1
    return 0


def _stop_with_parent() -> None:
    """Standard input is a pipe that ends with the process that started this one."""
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
