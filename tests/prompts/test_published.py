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
