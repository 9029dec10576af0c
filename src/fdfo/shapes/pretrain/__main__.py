"""Command line: `python -m fdfo.shapes.pretrain`."""

import argparse
from dataclasses import replace
from pathlib import Path


def main() -> None:
    """Parse the options and train."""
    parser = argparse.ArgumentParser(
        prog="python -m fdfo.shapes.pretrain",
        description="Make the models of the shapes world from nothing. Repeat the command to continue after a stop.",
    )
    parser.add_argument("--out", type=Path, default=Path("build/shapes"), help="folder for the finished models")
    parser.add_argument("--work", type=Path, help="folder for pictures and checkpoints (default: OUT/work)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads; more than the cores is slower")
    parser.add_argument("--world", choices=("small", "large"), default="small", help="32 or 64 pixels")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scale", type=float, default=1.0, help="factor on pictures and steps; 0.01 for a quick look")
    options = parser.parse_args()

    import torch
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    from fdfo.shapes.pretrain.progress import Progress
    from fdfo.shapes.pretrain.run import pretrain
    from fdfo.shapes.pretrain.settings import LARGE, Settings

    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(options.threads)
    world = LARGE if options.world == "large" else Settings()
    settings = replace(world, seed=options.seed).scaled(options.scale)
    work = options.work or options.out / "work"
    pretrain(settings, options.out, work, torch.device(options.device), Progress())


if __name__ == "__main__":
    main()
