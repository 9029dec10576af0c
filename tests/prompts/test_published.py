"""Published lists: fetched once, checked, cached; a server on this machine stands in for the publisher."""

import functools
import hashlib
import http.server
import threading
from dataclasses import replace

import pytest

from fdfo.errors import PromptError
from fdfo.prompts import load_prompts, published
from tests.rewards.local_server import Scripted, serving


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    """Serve tmp_path/web; the cache is tmp_path/cache. Yields a function that registers a list's content."""
    web = tmp_path / "web"
    web.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(web))
    monkeypatch.setattr(http.server.SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def publish(content: bytes, promised: bytes | None = None):
        (web / "list.txt").write_bytes(content)
        digest = hashlib.sha256(content if promised is None else promised).hexdigest()
        entry = published.Published(f"http://127.0.0.1:{server.server_port}/list.txt", digest)
        monkeypatch.setitem(published.LISTS, "drawbench", entry)

    yield publish
    server.shutdown()
    server.server_close()


def test_a_list_is_fetched_once_and_then_read_from_the_cache(publisher, tmp_path):
    publisher(b"one {cat}\ntwo\n")
    assert [prompt.text for prompt in load_prompts(None, "drawbench")] == ["one {cat}", "two"]
    (tmp_path / "web" / "list.txt").unlink()
    assert len(load_prompts(None, "drawbench")) == 2


def test_a_changed_file_is_refused_and_not_kept(publisher, tmp_path):
    publisher(b"other\n", promised=b"one\n")
    with pytest.raises(PromptError, match=r"not the file that was checked.*a file of your own"):
        load_prompts(None, "drawbench")
    assert list(tmp_path.glob("cache/**/*.txt")) == []


def test_without_a_known_digest_the_first_fetch_is_the_reference(publisher, tmp_path, monkeypatch):
    publisher(b"one\ntwo\n")
    entry = published.Published(published.LISTS["drawbench"].url)
    monkeypatch.setitem(published.LISTS, "drawbench", entry)
    assert len(load_prompts(None, "drawbench")) == 2
    (cached,) = tmp_path.glob("cache/**/drawbench.txt")
    cached.write_bytes(b"one\n")  # as a full disk leaves it
    assert len(load_prompts(None, "drawbench")) == 2
    assert cached.read_bytes() == b"one\ntwo\n"
    cached.write_bytes(b"one\n")
    (tmp_path / "web" / "list.txt").write_bytes(b"other\n")
    with pytest.raises(PromptError, match="not the file that was checked"):
        load_prompts(None, "drawbench")
    cached.unlink()  # as messages advise for what cannot be read
    assert [prompt.text for prompt in load_prompts(None, "drawbench")] == ["other"]


def test_an_unreachable_publisher_names_the_way_out(publisher, tmp_path):
    publisher(b"one\n")
    (tmp_path / "web" / "list.txt").unlink()
    with pytest.raises(PromptError, match=r"cannot fetch .*404.*save it as .*drawbench\.txt"):
        load_prompts(None, "drawbench")


def test_a_file_that_breaks_off_is_not_kept(tmp_path, monkeypatch):
    def break_off(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"one\n")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving(Scripted([break_off])) as server:
        monkeypatch.setitem(published.LISTS, "drawbench", published.Published(f"{server.url}/list.txt"))
        with pytest.raises(PromptError, match="96 bytes are missing"):
            load_prompts(None, "drawbench")
    assert list(tmp_path.glob("**/*.txt")) == []


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Put a file of a list into the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "fdfo" / "prompts"
    folder.mkdir(parents=True)
    return lambda name, text: (folder / name).write_text(text, encoding="utf-8")


def test_tables_and_lists_of_other_forms(cached):
    cached("parti.tsv", 'Prompt\tCategory\tChallenge\tNote\na "quoted" cat\tAnimals\tBasic\t\n"half\tArts\tBasic\t\n')
    assert [(p.text, p.metadata["category"]) for p in load_prompts(None, "parti")] == [
        ('a "quoted" cat', "Animals"),
        ('"half', "Arts"),
    ]
    cached("oneig.csv", '\ufeffcategory,id,prompt_en\nPortrait,000,"A man, two\nlines"\nAnime,001,b\n')
    assert [(p.text, p.metadata["category"]) for p in load_prompts(None, "oneig")] == [
        ("A man, two\nlines", "Portrait"),
        ("b", "Anime"),
    ]
    for style in published.HPD_STYLES:
        cached(f"hpdv2-{style}.json", f'["one {style}", "two"]')
    prompts = load_prompts(None, "hpdv2")
    assert len(prompts) == 8
    assert prompts[2].text == "one concept-art"
    assert prompts[2].metadata["category"] == "concept-art"


def test_the_category_of_geneval_is_its_tag(cached, monkeypatch):
    lines = (
        '{"tag": "counting", "include": [{"class": "bus", "count": 3}], "prompt": "three buses"}\n'
        '{"tag": "colors", "include": [{"class": "bus", "count": 1, "color": "red"}], "prompt": "a red bus"}\n'
    )
    cached("geneval.jsonl", lines)
    digest = hashlib.sha256(lines.encode()).hexdigest()
    monkeypatch.setitem(published.LISTS, "geneval", replace(published.LISTS["geneval"], sha256=digest))
    prompts = load_prompts(None, "geneval")
    assert [(p.text, p.metadata["category"], p.number) for p in prompts] == [
        ("three buses", "counting", 0),
        ("a red bus", "colors", 1),
    ]
    assert prompts[0].metadata["tag"] == "counting"  # the detector reads it
    assert prompts[0].metadata["include"] == [{"class": "bus", "count": 3}]


@pytest.mark.parametrize(
    ("file", "name"), [("parti.tsv", "parti"), ("oneig.csv", "oneig"), ("hpdv2-anime.json", "hpdv2")]
)
def test_a_spoilt_cache_is_explained(cached, file, name):
    cached(file, "<html>\nsign in\n")
    with pytest.raises(PromptError, match="delete it"):
        load_prompts(None, name)


def test_benchmarks_bring_what_their_judges_need(cached, monkeypatch):
    """Columns and fields as the publishers' evaluation code reads them."""
    for name in ("geneval2", "qwen-image-bench"):
        monkeypatch.setitem(published.LISTS, name, replace(published.LISTS[name], sha256=None))
    pairs = '[["How many pigs are in the image?", "two"], ["Are there any pigs in the image?", "Yes"]]'
    cached("geneval2.jsonl", f'{{"prompt": "two pigs", "atom_count": 3, "vqa_list": {pairs}, "skills": ["count"]}}\n')
    (prompt,) = load_prompts(None, "geneval2")
    assert (prompt.text, prompt.category) == ("two pigs", "3 atoms")
    assert prompt.metadata["questions"][0] == ["How many pigs are in the image?", "two"]

    about = '{""Primary Categories"": ""Art"", ""Testpoints"": [""Style""], ""Testpoint Description"": [""ink""]}'
    for name in ("", "_long"):
        cached(f"unigenbench{name.replace('_', '-')}.csv", f'index,prompt_en,sub_dims_en\n0,"a, b","{about}"\n')
    for name in ("unigenbench", "unigenbench-long"):
        (prompt,) = load_prompts(None, name)
        assert (prompt.text, prompt.metadata) == ("a, b", {"category": "Art", "testpoints": [["Style", "ink"]]})

    cached("longtext-en.jsonl", '{"prompt_id": 0, "prompt": "a sign", "category": "sign", "text": ["one", "two"]}\n')
    cached("longtext-zh.jsonl", '{"prompt_id": 0, "prompt": "牌", "category": "sign", "text": ["一"]}\n')
    assert [p.metadata["text"] for name in ("en", "zh") for p in load_prompts(None, f"longtext-{name}")] == [
        "one two",
        "一",
    ]
    cached("qwen-image-bench.jsonl", '{"ID": 1, "prompt_cn": "x", "prompt_en": "a cat", "dims_en": "d", "r": "long"}\n')
    (prompt,) = load_prompts(None, "qwen-image-bench")
    assert (prompt.text, prompt.metadata) == ("a cat", {"ID": 1, "dims_en": "d"})

    rows = (
        "item_id,text,proposition_id,question_natural_language",
        "p1,A.,1,Is it?",
        "p1,A.,2,Is it red?",
        "2,B.,1,B?",
    )
    cached("dpg.csv", "\n".join(rows) + "\n")
    assert [(p.text, p.metadata["questions"]) for p in load_prompts(None, "dpg")] == [
        ("A.", [["Is it?", "Yes"], ["Is it red?", "Yes"]]),
        ("B.", [["B?", "Yes"]]),
    ]
    for kind in published.COMPBENCH_KINDS:
        cached(f"t2i-compbench-{kind}.txt", f"one {kind}\ntwo\n")
    prompts = load_prompts(None, "t2i-compbench")
    assert len(prompts) == 16
    assert (prompts[8].text, prompts[8].category) == ("one 3d_spatial", "3d_spatial")


def test_a_benchmark_without_what_its_judge_needs_is_refused(cached, monkeypatch):
    monkeypatch.setitem(published.LISTS, "geneval2", replace(published.LISTS["geneval2"], sha256=None))
    cached("geneval2.jsonl", '{"prompt": "two pigs"}\n')
    cached("unigenbench.csv", "index,prompt_en,sub_dims_en\n0,a,{}\n")
    for name, missing in {"geneval2": "no field 'atom_count'", "unigenbench": "'a' has no test points"}.items():
        with pytest.raises(PromptError, match=missing):
            load_prompts(None, name)


def test_every_named_list_has_its_licence_in_the_reference():
    from pathlib import Path

    from fdfo.plugins import BUILT_IN

    page = (Path(__file__).parents[2] / "docs" / "reference" / "prompts.md").read_text()
    assert [name for name in BUILT_IN["prompts"] if f"`{name}`" not in page] == []
