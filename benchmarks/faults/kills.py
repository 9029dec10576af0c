"""kill -9 at random moments: `python -m benchmarks.faults.kills [--kills 20] [--seed 0] [--folder DIR]`.

Runs a training command undisturbed, and again while killing it at random moments and repeating it, in new folders as
runs get finished, until there were enough kills. All final adapters must be equal bit for bit; exits with 1 if not.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from safetensors.torch import load_file

COMMAND = [sys.executable, "-m", "fdfo", "train", "shapes-smoke", "train.epochs=12", "eval.every=3"]


def final_adapter(folder: Path) -> dict[str, bytes]:
    newest = sorted((folder / "checkpoints").glob("epoch-*"))[-1]
    tensors = load_file(newest / "adapter_model.safetensors")
    return {name: tensor.numpy().tobytes() for name, tensor in tensors.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    root = options.folder or Path(tempfile.mkdtemp())
    start = time.monotonic()
    subprocess.run([*COMMAND, "--run", str(root / "undisturbed")], check=True, stdout=subprocess.DEVNULL)
    length = time.monotonic() - start
    moments = random.Random(options.seed)
    kills, folders = 0, [root / "killed-0"]
    while kills < options.kills:
        process = subprocess.Popen([*COMMAND, "--run", str(folders[-1])], stdout=subprocess.DEVNULL)
        try:
            process.wait(timeout=moments.uniform(0, length))
            folders.append(root / f"killed-{len(folders)}")  # it was finished before its moment came
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
    subprocess.run([*COMMAND, "--run", str(folders[-1])], check=True, stdout=subprocess.DEVNULL)
    expected = final_adapter(root / "undisturbed")
    equal = [final_adapter(folder) == expected for folder in folders]
    print(f"{kills} kills over {len(folders)} runs of {length:.0f} s: {sum(equal)} of {len(equal)} adapters are equal")
    return 0 if all(equal) else 1


if __name__ == "__main__":
    sys.exit(main())
