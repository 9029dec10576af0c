"""What the command line asks of the libraries that its commands import."""

import logging
import os


def prepare_libraries() -> None:
    """Settings that libraries read when they are imported; a user's own stay."""
    # torch's threads wait for each other by spinning: where cores are shared, a run takes ten times as long unless they
    # give up soon.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # Notices of what is not installed and not needed here.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    for name in ("bitsandbytes", "torchao", "torch.utils._pytree"):  # the last speaks of torchao's classes
        logging.getLogger(name).setLevel(logging.ERROR)
