"""`fdfo rewards` and `fdfo serve-reward`."""

import re
import socket
import subprocess
import sys

import pytest
import torch

from fdfo.cli import serve_reward
from fdfo.commands import rewards
from fdfo.commands.rewards import SCENES, drawn_pictures, run_check, run_list, verdict
from fdfo.commands.score import chosen_device, named_score
from fdfo.commands.serve import run_serve
from fdfo.config.presets import PRESETS
from fdfo.errors import ConfigError, FdfoError, RewardError
from fdfo.plugins import names
from fdfo.rewards.clip import ShapesContrastive
from fdfo.rewards.remote import Remote
from fdfo.shapes.verifier import judge
from fdfo.web.server import Server
from tests.rewards.tiny_clip import make_clip

CPU = torch.device("cpu")


def test_list_names_every_score_and_preset(capsys):
    run_list()
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines()}
    assert listed == {*names("rewards"), *PRESETS}


def test_the_pictures_match_their_captions():
    for picture, caption in zip(drawn_pictures(32).numpy(), SCENES, strict=True):
        assert judge(picture, caption).passed


def test_check_does_not_wait_long_for_a_server(monkeypatch):
    monkeypatch.setattr("fdfo.commands.rewards.CHECK_PATIENCE_S", 0.2)
    with pytest.raises(RewardError, match=r"not answered for patience_s=0\.2"):
        run_check("remote", ["url=http://127.0.0.1:9"], "cpu")
    with pytest.raises(RewardError, match=r"not answered for patience_s=0\.3"):
        run_check("remote", ["url=http://127.0.0.1:9", "patience_s=0.3"], "cpu")


def test_check_shows_that_right_outranks_wrong(capsys):
    run_check("shapes-contrastive", ["batch_size=3"], "cpu")
    shown = capsys.readouterr().out
    for part in (
        "no model to fetch",
        "outranks 12 of 12 wrong ones",
        "images/s at 32 x 32",
        "GiB of host memory",
    ):
        assert part in shown


def test_check_shows_model_and_licence(capsys, tmp_path):
    folder = make_clip(tmp_path)
    (tmp_path / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# A model\n")
    run_check("clip", [f"model={folder}"], "cpu")
    assert f"clip\n  model {folder}, licence apache-2.0\n" in capsys.readouterr().out


def test_check_shows_every_network_of_a_score(capsys, tmp_path):
    folders = []
    for name, licence in (("model", "mit"), ("processor", "apache-2.0")):
        folders.append(make_clip(tmp_path / name))
        (tmp_path / name / "README.md").write_text(f"---\nlicense: {licence}\n---\n# A model\n")
    run_check("hpsv2", [f"model={folders[0]}", f"processor={folders[1]}"], "cpu")
    lines = f"hpsv2\n  model {folders[0]}, licence mit\n  processor {folders[1]}, licence apache-2.0\n"
    assert lines in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "sources"),
    [
        ("detect", {"model", "color_model"}),
        ("image-reward", {"model", "tokenizer"}),
        ("aesthetic", {"model", "head"}),
        ("pickscore", {"model", "processor"}),
        ("clip", {"model"}),
        ("vlm-server", {"model", "url"}),
        ("jpeg", {"no"}),
    ],
)
def test_sources_are_all_that_a_score_fetches(name, sources, monkeypatch):
    monkeypatch.setattr(rewards, "licence_of", lambda place: "mit")
    (entry,) = named_score(name, [])
    assert {line.split()[0] for line in rewards._sources(entry).splitlines()} == sources


def test_check_of_a_score_without_pictures_says_so(capsys, monkeypatch):
    monkeypatch.setitem(rewards.UNDRAWN, "jpeg", "the drawn pictures cannot be judged")
    run_check("jpeg", [], "cpu")
    shown = capsys.readouterr().out
    assert "  the drawn pictures cannot be judged\n" in shown and "images/s" in shown
    assert "caption" not in shown


def test_check_of_a_preset_takes_every_score(capsys, monkeypatch):
    monkeypatch.setitem(PRESETS, "both", ({"name": "jpeg"}, {"name": "shapes-verifier"}))
    run_check("both", [], "cpu")
    shown = capsys.readouterr().out
    assert shown.count("loaded in") == 2
    assert "it does not read the caption" in shown and "outranks 12 of 12" in shown


def test_check_of_a_score_that_reads_has_words(capsys, tmp_path):
    (tmp_path / "reader.py").write_text(
        "WORDS = ['OPEN', 'BAKERY', 'Route 66', 'hello']\n"
        "seen = []\n"
        "def read(picture):\n"
        "    assert 0 < picture.convert('L').histogram()[0] < 30000  # black on white\n"
        "    seen.append(picture.tobytes())\n"
        "    return [WORDS[list(dict.fromkeys(seen)).index(picture.tobytes())]]\n"
    )
    run_check("ocr", [f"reader={tmp_path / 'reader.py'}:read"], "cpu")
    assert "outranks 12 of 12" in capsys.readouterr().out


def test_verdicts():
    nan = float("nan")
    assert "outranks 1 of 2" in verdict(torch.tensor([[1.0, 0.0], [3.0, 2.0]]))
    assert "does not read the caption" in verdict(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    assert "1 of 4 could not be judged" in verdict(torch.tensor([[1.0, nan], [1.0, 0.0]]))


def test_options_have_yaml_values():
    (entry,) = named_score("jpeg", ["quality=80", "sign=incompressible", "weight=2"])
    assert (entry.options, entry.weight) == ({"quality": 80, "sign": "incompressible"}, 2.0)


@pytest.mark.parametrize(
    ("name", "options", "fragment"),
    [
        ("jpge", [], "did you mean 'jpeg'?"),
        ("jpeg", ["quality"], "options look like option=value"),
        ("jpeg", ["qualty=3"], "did you mean 'quality'?"),
        ("gone.py:f", [], "no file"),
    ],
)
def test_mistakes_are_explained(name, options, fragment):
    with pytest.raises(ConfigError) as caught:
        named_score(name, options)
    assert fragment in str(caught.value)


def test_unknown_devices_are_explained():
    with pytest.raises(ConfigError, match="--device nowhere"):
        chosen_device("nowhere")


def test_a_model_that_cannot_be_loaded_is_explained():
    with pytest.raises(RewardError, match=r"'clip', model '/no/such'"):
        run_check("clip", ["model=/no/such"], "cpu")


def test_running_out_of_memory_is_one_message(tmp_path):
    file = tmp_path / "hungry.py"
    file.write_text("import torch\n\ndef score(images, prompts, metadata):\n    raise torch.OutOfMemoryError('full')\n")
    with pytest.raises(FdfoError, match=r"ran out of memory on 4 images, the first for 'a big red circle'"):
        run_check(f"{file}:score", [], "cpu")


@pytest.mark.slow
def test_a_served_score_survives_being_killed():
    """As two processes: killed, started again at the same port, and never missed."""
    pictures = drawn_pictures(32)
    expected = ShapesContrastive()
    expected.load(CPU, torch.float32)
    with serve(0) as server:
        url = re.search(r"url: (\S+)}", server.stdout.readline()).group(1)
        remote = Remote(url=url, timeout_s=20, patience_s=60)
        remote.load(CPU, torch.float32)
        before = remote(pictures, list(SCENES), [{}] * 4)
        server.kill()
        server.wait()
        with serve(int(url.rpartition(":")[2])) as again:
            after = remote(pictures, list(SCENES), [{}] * 4)
            again.kill()
    assert torch.equal(before, after)
    torch.testing.assert_close(
        before.float(), expected(pictures, list(SCENES), [{}] * 4), rtol=0, atol=0.1
    )  # levels of 1/255


def serve(port):
    arguments = ["serve-reward", "shapes-contrastive", "--device", "cpu", "--port", str(port)]
    return subprocess.Popen([sys.executable, "-m", "fdfo", *arguments], stdout=subprocess.PIPE, text=True)


def test_serving_checks_key_and_address(monkeypatch):
    monkeypatch.setenv("MY_KEY", " \n")
    with pytest.raises(ConfigError, match="the environment has no key in MY_KEY"):
        run_serve("jpeg", [], "127.0.0.1", 0, "MY_KEY", "cpu")
    monkeypatch.delenv("MY_KEY")
    with pytest.raises(ConfigError, match="the environment has no key in MY_KEY"):
        run_serve("jpeg", [], "127.0.0.1", 0, "MY_KEY", "cpu")
    with pytest.raises(ConfigError, match=r"cannot listen at no\.such\.host\.invalid:0"):
        run_serve("jpeg", [], "no.such.host.invalid", 0, None, "cpu")


def test_serving_without_its_extra_names_it(monkeypatch):
    monkeypatch.setattr("fdfo.commands.extras.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError,
        match=r"needs starlette, uvicorn, not installed here; install it: .* -m pip install starlette uvicorn",
    ):
        serve_reward("jpeg")


def test_standardisation_belongs_to_the_run(monkeypatch):
    monkeypatch.setattr(Server, "serve", lambda self: None)
    with pytest.raises(ConfigError, match=r"standardize belongs to the entry of a run.*; remove it here"):
        run_serve("jpeg", ["standardize=true"], "127.0.0.1", 0, None, "cpu")


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1", "::"])
def test_what_is_printed_is_an_address_for_clients(host, monkeypatch, capsys):
    monkeypatch.setattr("fdfo.web.listening.gethostname", lambda: "my-machine")
    monkeypatch.setattr(Server, "serve", lambda self: None)
    if ":" in host and not has_ipv6():
        pytest.skip("no IPv6 here")
    run_serve("jpeg", ["quality=80", "device=cpu"], host, 0, None, "cpu")  # known by what changes scores alone
    shown = capsys.readouterr().out
    clients = {"127.0.0.1": "127.0.0.1", "::1": r"\[::1\]"}.get(host, "my-machine")
    assert re.search(rf"serving jpeg quality=80 on cpu; .* url: http://{clients}:\d+}}", shown)
    assert ("whoever reaches this address" in shown) == (host in ("0.0.0.0", "::"))


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as here:
            here.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_key_in_place_of_its_variable_is_not_repeated():
    with pytest.raises(ConfigError, match="--key-variable must be the name of an environment variable") as caught:
        run_serve("jpeg", [], "127.0.0.1", 0, "sk-secret-1", "cpu")
    assert "sk-secret-1" not in str(caught.value)


def test_a_key_is_served_without_the_line_feed_that_clients_do_not_send(monkeypatch):
    keys = []

    def app(reward, name, device, key):
        keys.append(key)

    monkeypatch.setattr("fdfo.commands.serve.reward_app", app)
    monkeypatch.setattr(Server, "serve", lambda self: None)
    monkeypatch.setenv("MY_KEY", " right\n")
    run_serve("jpeg", [], "127.0.0.1", 0, "MY_KEY", "cpu")
    assert keys == ["right"]
