"""What the experiment with a hidden taste tells of its runs, by hand; that its person has the taste."""

import pytest
import torch

from benchmarks.evidence.people import Course, hidden, page


def test_questions_are_read_on_straight_lines():
    course = Course([0, 100, 200], [1.0, 2.0, 4.0])
    assert [course.until(level) for level in (1.5, 3.0, 4.0, 5.0)] == [50, 150, 200, None]


def test_the_taste_is_for_warm_and_large():
    images = torch.zeros(3, 3, 8, 8)
    images[0, 0, :2, :2] = images[1, 2, :2, :2] = images[2, 0, :4, :4] = 1  # small red, small blue, large red
    scores = hidden(images, [], [])
    assert scores[2] > scores[0] > scores[1]
    assert scores[0] == pytest.approx(4 / 64 + 4 / 64 / 2)


def test_the_page_counts_who_never_gets_there():
    courses = {
        "all": [Course([0, 100], [0.0, 1.0])] * 2,
        "assisted": [Course([0, 40], [0.0, 1.0]), Course([0, 40], [0.0, 0.7])],
    }
    rows = [line for line in page(courses).splitlines() if line.startswith("| people")]
    assert rows[0].split(" | ")[1:3] == ["100", "1.000 [1.000, 1.000]"] and "| 0.0100" not in rows[0]
    assert rows[2].split(" | ")[1:] == ["50 [50, 50]", "75 [75, 75]", "90 [90, 90] |"]
    assert "36 (1 of 2 never)" in rows[3]
