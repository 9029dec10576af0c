"""YAML and JSON of people: what another reader would pass over in silence, or fail on, is one line."""

import pytest

from fdfo.documents import BadDocument, parse_json, parse_yaml, yaml_text


@pytest.mark.parametrize(
    ("parse", "text", "content"),
    [
        (parse_yaml, "a: 1\nb: {a: 2, c: [x, 'y']}\n", {"a": 1, "b": {"a": 2, "c": ["x", "y"]}}),
        (parse_yaml, "a: &one {x: 1, y: 2}\nb: {<<: *one, x: 3}\n", {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}}),
        (parse_yaml, "1: a\n'1': b\n", {1: "a", "1": "b"}),
        (parse_yaml, "", None),
        (parse_yaml, "[1e-4, 1E5, -.5e3, 2.e+1, 1e, e5, 12e-]", [1e-4, 1e5, -500.0, 20.0, "1e", "e5", "12e-"]),
        (parse_yaml, "[2024-02-30, 2024-02-03, 3_000]", ["2024-02-30", "2024-02-03", 3000]),
        (parse_yaml, "[010, -07, 1:30, 1:30.5, 0, 10, 0.5, 0x1f]", ["010", "-07", "1:30", "1:30.5", 0, 10, 0.5, 31]),
        (parse_json, '{"a": [1, {"a": null}], "b": 2.5}', {"a": [1, {"a": None}], "b": 2.5}),
    ],
)
def test_a_sound_document_is_read(parse, text, content):
    assert parse(text) == content


def test_a_text_that_looks_like_a_number_stays_a_text():
    content = {"label": "1e5", "when": ["2024-02-03", "12", "1.5e3"], "lr": 1e-5, "steps": 100000, "title": "größer"}
    assert parse_yaml(yaml_text(content)) == content
    assert yaml_text({"title": "größer"}) == "title: größer\n"


@pytest.mark.parametrize(
    ("parse", "text", "line"),
    [
        (parse_yaml, "lr: 1\nx: 2\nlr: 3\n", "line 3: the key 'lr' stands twice in a section; remove one"),
        (parse_yaml, "a: {b: 1, c: 2, 'b': 1}", "line 1: the key 'b' stands twice in a section; remove one"),
        (parse_yaml, "- {x: [{k: 1, k: 1}]}", "line 1: the key 'k' stands twice in a section; remove one"),
        (parse_json, '{"a": 1, "b": {"c": 1, "c": 2}}', "the key 'c' stands twice in an object; remove one"),
        (parse_yaml, "[" * 101 + "1" + "]" * 101, "it is nested more than 100 levels deep"),
        (parse_yaml, "[" * 100_000, "it is nested more than 100 levels deep"),
        (parse_json, "[" * 101 + "1" + "]" * 101, "it is nested more than 100 levels deep"),
        (parse_json, "[" * 100_000, "it is nested more than 100 levels deep"),
        (parse_yaml, "a: &a [*a]", "it is nested more than 100 levels deep"),
        (parse_yaml, "9" * 5000, "it holds a whole number of more than 300 digits"),
        (parse_yaml, "a: 0x" + "f" * 5000, "it holds a whole number of more than 300 digits"),
        (parse_json, '{"n": ' + "9" * 5000 + "}", "it holds a whole number of more than 300 digits"),
        (parse_json, "9" * 400, "it holds a whole number of more than 300 digits"),
        (parse_json, '{"a": 1,}', "not valid JSON (column 9: "),
        (parse_yaml, "a: [1", "line 1: "),
        (parse_yaml, "a: \x00", "unacceptable character"),
        (parse_yaml, "a: !!timestamp 2020-13-45", "month must be in 1..12"),
    ],
)
def test_what_is_wrong_is_one_line(parse, text, line):
    with pytest.raises(BadDocument) as caught:
        parse(text)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_ten_lines_that_stand_for_a_billion_values_are_refused():
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(BadDocument, match="aliases stand for more than 1000000 values"):
        parse_yaml("\n".join(lines))


def test_the_deepest_document_and_the_largest_number_that_are_read():
    assert str(parse_json("[" * 100 + "]" * 100)) == "[" * 100 + "]" * 100
    assert parse_yaml("9" * 300) == 10**300 - 1
