"""How often the verifier is right: true pictures must pass, pictures of another caption of the category must not."""

import argparse
import sys
from dataclasses import dataclass

import numpy as np

from fdfo.shapes.grammar import parse
from fdfo.shapes.render import render
from fdfo.shapes.sampling import sample_scene, satisfies
from fdfo.shapes.scene import CATEGORIES, Scene, Spec
from fdfo.shapes.splits import SPLITS, captions
from fdfo.shapes.verifier import judge
from fdfo.words import plural


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Verdicts on n pictures: against their own caption (`true_`) and a wrong one of the category (`wrong_`)."""

    pictures: int
    true_graded: float
    true_passed: float
    wrong_graded: float
    wrong_passed: float


def measure(category: str, pictures: int, seed: int, noise: float = 0.0) -> Accuracy:
    """Judge random true pictures of a category, all splits together, with Gaussian noise of sd `noise` added."""
    rng = np.random.default_rng([seed, CATEGORIES.index(category)])
    specs = [parse(item.text) for split in SPLITS for item in captions(split, category)]
    rows = []
    for _ in range(pictures):
        spec = specs[rng.integers(len(specs))]
        scene = sample_scene(spec, rng)
        image = render(scene, rng)
        image = (image + noise * rng.standard_normal(image.shape)).astype(np.float32)
        right, wrong = judge(image, spec), judge(image, _mismatched(scene, specs, rng))
        assert right is not None
        assert wrong is not None
        rows.append((right.graded, right.passed, wrong.graded, wrong.passed))
    means = [float(value) for value in np.mean(rows, axis=0)]
    return Accuracy(
        pictures=pictures,
        true_graded=means[0],
        true_passed=means[1],
        wrong_graded=means[2],
        wrong_passed=means[3],
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """95 % Wilson interval of a share measured on `count` trials."""
    z = 1.96
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * (share * (1 - share) / count + z * z / (4 * count * count)) ** 0.5
    return max(0.0, centre - half), min(1.0, centre + half)


def main() -> None:
    """Print the table of `python -m fdfo.shapes.accuracy`."""
    parser = argparse.ArgumentParser(prog="python -m fdfo.shapes.accuracy", description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000, help="pictures of each category")
    parser.add_argument("--noise", type=float, default=0.0, help="standard deviation of added noise")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print_line = sys.stdout.write
    print_line(f"{plural(options.pictures, 'picture')} a category, seed {options.seed}, noise {options.noise}\n")
    print_line(f"{'':10} {'true: graded':>12} {'strict [95 %]':>22} {'wrong: graded':>14} {'strict [95 %]':>22}\n")
    for name in CATEGORIES:
        result = measure(name, options.pictures, options.seed, options.noise)
        true, wrong = (
            "{:.3f} [{:.3f}, {:.3f}]".format(share, *wilson(share, result.pictures))
            for share in (result.true_passed, result.wrong_passed)
        )
        print_line(f"{name:10} {result.true_graded:12.3f} {true:>22} {result.wrong_graded:14.3f} {wrong:>22}\n")


def _mismatched(scene: Scene, specs: list[Spec], rng: np.random.Generator) -> Spec:
    """A random caption of the category that the scene does not satisfy."""
    while satisfies(scene, spec := specs[rng.integers(len(specs))]):
        pass
    return spec


if __name__ == "__main__":
    main()
