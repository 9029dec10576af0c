"""A model card with all that others need, its upload to a stand-in of the hub, and what ComfyUI reads."""

import base64
import json
import re
import shutil
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import torch
from huggingface_hub import ModelCard, constants
from PIL import Image
from safetensors import safe_open

from fdfo import api
from fdfo.commands.card import reproduction
from fdfo.commands.export import run_export
from fdfo.commands.generate import columns_of, run_generate
from fdfo.commands.licence import licence_of
from fdfo.commands.model_choice import ModelChoice
from fdfo.commands.publish import run_push
from fdfo.config.load import load_config
from fdfo.documents import yaml_text
from fdfo.errors import ConfigError, FdfoError
from fdfo.evaluation.dataset import image_rows
from fdfo.evaluation.runs import read_evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.models import load_policy
from fdfo.models.lora_files import LORA_FILE
from tests.training.runs import run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose base is a pipeline folder like any other."""
    place = tmp_path_factory.mktemp("published")
    base = shutil.copytree(Path(api.__file__).parent / "shapes" / "assets" / "pipeline", place / "base")
    changes = (
        f"policy.name={base}",
        "policy.text_tokens=1",
        "train.epochs=1",
        "eval.every=1",
        "eval.steps=3",
        "optim.lr=1e-2",
    )
    return run(place / "trained", *changes)


@pytest.fixture(scope="module")
def exported(trained):
    folder = trained / "shown"
    run_export(trained, "diffusers", None, folder, card=True)
    return folder


def test_the_card_is_read_by_the_hubs_own_classes(exported, trained):
    card = ModelCard.load(exported / "README.md")
    assert (card.data.license, card.data.library_name, card.data.pipeline_tag) == (
        "apache-2.0",
        "diffusers",
        "text-to-image",
    )
    first, last = read_evaluations(trained)
    (found,) = [one for one in card.data.eval_results if one.metric_type == "shapes-verifier"]
    assert found.metric_value == pytest.approx(sum(last.scores["shapes-verifier"]) / 8, abs=1e-6)  # 4 prompts x 2
    gain = last.gain(first, "shapes-verifier")
    assert f"{gain.mean:+.4g} [{gain.low:+.4g}, {gain.high:+.4g}]" in card.text
    names = [one.metric_type for one in card.data.eval_results]
    assert names == ["shapes-contrastive", "shapes-verifier", "shapes-neatness", "diversity"]  # not the reward again
    assert "A LoRA for [base](#use)" in card.text and "# your copy of base" in card.text
    assert (exported / "config.yaml").read_bytes() == (trained / "config.yaml").read_bytes()


def test_python_exports_what_the_command_does(exported, trained, tmp_path):
    written = api.export(trained, tmp_path / "lora", dtype="float32")
    assert written == tmp_path / "lora" and [path.name for path in written.glob("[!.]*")] == [LORA_FILE]
    one, other = (safe_open(folder / LORA_FILE, "pt") for folder in (written, exported))
    assert one.metadata() == other.metadata()
    assert all(torch.equal(one.get_tensor(key), other.get_tensor(key)) for key in other.keys())  # noqa: SIM118
    with pytest.raises(ConfigError, match="--to onnx: expected one of"):
        api.export(trained, to="onnx")


def greener(images, prompts, metadata):
    """A score of a program, as one in a notebook."""
    return images[:, 1].mean((1, 2))


def bluer(images, prompts, metadata):
    """Another one, which is watched."""
    return images[:, 2].mean((1, 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"reward": [greener]},
        {"reward": ["jpeg", {"name": greener, "weight": 0.5}], "eval": {"rewards": [bluer, "shapes-neatness"]}},
    ],
    ids=["alone", "among others"],
)
def test_a_card_says_how_a_score_of_a_program_is_trained_with_again(changes, tmp_path, monkeypatch):
    config = load_config("shapes-smoke", changes)
    (tmp_path / "config.yaml").write_text(yaml_text(config.model_dump(mode="json")))
    text = reproduction(config)
    assert "`python:greener`" in text and "`fdfo train config.yaml` alone does not reproduce it" in text
    monkeypatch.chdir(tmp_path)
    trained = []
    monkeypatch.setattr("fdfo.train", lambda *given: trained.append(given), raising=False)
    exec(re.search(r"```python\n(.*?)```", text, re.S)[1], {"greener": greener, "bluer": bluer})
    assert trained == [(config, "runs/again")]


def test_a_card_says_which_files_a_configuration_names(tmp_path):
    (tmp_path / "warmth.py").write_text("def warmth(images, prompts, metadata):\n    return images.mean((1, 2, 3))\n")
    (tmp_path / "prompts.txt").write_text("a red circle\na blue square\na green cross\na white circle\n")
    score, prompts = f"{tmp_path}/warmth.py:warmth", f"{tmp_path}/prompts.txt"
    text = reproduction(load_config("shapes-smoke", {"reward": [score], "prompts": {"path": prompts}}))
    assert f"It names files that have to be there: `{score}`, `{prompts}`." in text
    assert text.endswith("`fdfo train config.yaml` reproduces the training.")
    assert "files" not in reproduction(load_config("shapes-smoke"))


def test_a_card_names_models_and_weights_of_the_machine_that_trained(tmp_path):
    base, start, net = places = [str(tmp_path / name) for name in ("base", "start", "net")]
    for place in places:
        Path(place).mkdir()
    rewards = [{"name": "learned", "path": "taste"}, {"name": "clip", "model": net}]
    policy = {"name": base, "adapter": {"start": start}}
    text = reproduction(load_config("flux2-klein-16gb", {"reward": rewards, "policy": policy}))
    assert f"It names files that have to be there: `{base}`, `{start}`, `taste`, `{net}`." in text
    judged = reproduction(load_config("flux2-klein-16gb", {"eval": {"policy": base}}))
    assert f"It names files that have to be there: `{base}`." in judged
    hub = {"policy": {"name": "me/model"}, "reward": [{"name": "clip", "model": "me/clip"}]}
    assert "files" not in reproduction(load_config("flux2-klein-16gb", hub))
    nobody = {"policy": {"name": "me/model"}, "reward": [{"name": "clip", "model": "~nobody-has-this-name/clip"}]}
    assert "files" not in reproduction(load_config("flux2-klein-16gb", nobody))


def test_a_card_says_that_people_decide():
    text = reproduction(load_config("shapes-smoke", {"reward": ["human"]}))
    assert "their choices, `choices.jsonl` of the run, decide what is trained" in text
    assert "`fdfo train config.yaml` asks people anew" in text and "config.yaml` reproduces" not in text


def test_the_sheet_has_the_runs_pictures_before_above_after(exported, trained):
    with Image.open(exported / "before-after.png") as sheet, Image.open(trained / "samples/epoch-0000001.png") as grid:
        assert sheet.size == (4 * 32, 64)
        assert sheet.crop((32, 32, 64, 64)).tobytes() == grid.convert("RGB").crop((32, 0, 64, 32)).tobytes()


def test_the_cards_code_draws_the_runs_pictures(exported, trained):
    code = re.search(r"```python\n(.*?)```", (exported / "README.md").read_text(), re.S)[1]
    policy = load_policy(trained.parent / "base", adapter=trained / "checkpoints" / "epoch-0000001", text_tokens=1)
    latents = NoiseStreams(0).starts(policy.latent_shape, [0], 1)
    prompt = re.search(r"pipeline\(prompt='(.*?)'", code)[1]
    names = {"latents": latents}
    exec(code.replace(").images[0]", ", latents=latents, output_type='pt').images[0]"), names)
    pictures = policy.sample(prompt, steps=3)
    torch.testing.assert_close(names["image"].float(), pictures.images[0], rtol=0, atol=1e-5)
    base = policy.sample(prompt, steps=3, weights="base")
    assert (base.images - pictures.images).abs().max() > 1e-3


def test_the_workflow_is_whole_and_every_key_has_its_place_in_comfyui(exported):
    nodes = json.loads((exported / "comfyui-workflow.json").read_text())
    outputs = {"CheckpointLoaderSimple": 3}
    for node in nodes.values():
        for value in node["inputs"].values():
            if isinstance(value, list):
                source, output = value
                assert output < outputs.get(nodes[source]["class_type"], 1)
    (lora,) = [node["inputs"]["lora_name"] for node in nodes.values() if node["class_type"] == "LoraLoaderModelOnly"]
    assert (exported / lora).is_file()
    # ComfyUI knows SD3's modules by diffusers' names: block, stream, projection (comfy.utils.mmdit_to_diffusers).
    own = "to_q|to_k|to_v|to_out\\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out"
    known = re.compile(rf"transformer\.transformer_blocks\.\d+\.attn\.({own})\.lora_[AB]\.weight")
    with safe_open(exported / LORA_FILE, "pt") as file:
        assert list(file.keys()) and all(map(known.fullmatch, file.keys()))


class Hub(ThreadingHTTPServer):
    """Answers what an upload of small files asks, and keeps what was sent."""

    daemon_threads = True

    def __init__(self, refuses=False):
        super().__init__(("127.0.0.1", 0), _HubHandler)
        self.refuses, self.files, self.asked = refuses, {}, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"


class _HubHandler(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self._answer(200, {"id": "me/warm", "sha": "0" * 40, "siblings": []})

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        if self.server.refuses:
            return self._answer(403, {"error": "You don't have the rights"})
        if self.path.endswith("/repos/create"):
            return self._answer(200, {"url": f"{self.server.url}/me/warm", "name": "me/warm", "id": "1"})
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for one in files
            ]
            return self._answer(200, {"files": modes})
        if self.path.endswith("/validate-yaml"):
            return self._answer(200, {"errors": [], "warnings": []})
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.server.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            else:
                self.server.message = entry["value"]["summary"]
        return self._answer(
            200, {"commitUrl": f"{self.server.url}/me/warm/commit/1", "commitOid": "1" * 40, "success": True}
        )

    def _answer(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def hub(request, monkeypatch):
    """A stand-in of the hub's interface on this machine."""
    server = Hub(refuses=getattr(request, "param", False))
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    for variable in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    yield server
    server.shutdown()
    server.server_close()


def test_push_uploads_the_adapter_with_its_card(trained, hub, capsys):
    run_push(trained, "me/warm", None, "mit", private=False, dry_run=False)
    assert set(hub.files) == {LORA_FILE, "README.md", "config.yaml", "before-after.png", "comfyui-workflow.json"}
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data.license == "mit" and "load_lora_weights('me/warm')" in card.text
    assert hub.message == "trained, epoch-0000001"
    assert f"{hub.url}/me/warm/commit/1" in capsys.readouterr().out


def test_a_dry_run_shows_the_card_and_sends_nothing(trained, hub, capsys):
    run_push(trained, "me/warm", None, None, private=False, dry_run=True)
    out = capsys.readouterr().out
    assert LORA_FILE in out and "## Reproduce" in out and "nothing was sent" in out
    assert hub.asked == []


@pytest.mark.parametrize("hub", [True], indirect=True)
def test_a_refused_upload_says_what_to_do(trained, hub):
    with pytest.raises(FdfoError, match="hf auth login"):
        run_push(trained, "me/warm", None, None, private=False, dry_run=False)


def test_a_name_that_is_no_repository_is_refused_before_anything_loads(tmp_path):
    with pytest.raises(ConfigError, match="expected OWNER/NAME"):
        run_push(tmp_path, "warm", None, None, private=False, dry_run=False)


def test_a_card_for_merged_weights_is_refused(trained, tmp_path):
    with pytest.raises(ConfigError, match="--card describes a LoRA for diffusers"):
        run_export(trained, "merged", None, tmp_path / "out", card=True)


@pytest.mark.parametrize(
    ("noise_seed", "seeds", "titles"),
    [(3, 1, ["seed 3"]), (0, 2, ["seed 0", "seed 1"]), (3, 2, ["seed 3.0", "seed 3.1"])],
)
def test_a_sheet_names_the_seed_that_was_asked_for(noise_seed, seeds, titles):
    assert columns_of(noise_seed, seeds) == titles


def test_generate_writes_a_data_set_into_a_folder(trained, tmp_path, capsys):
    choice = ModelChoice(trained, None, None, None, None)
    run_generate([choice], ["a red circle", "two blue squares"], None, None, 2, 0, "1", 2, tmp_path / "drawn")
    rows = [json.loads(line) for line in (tmp_path / "drawn" / "metadata.jsonl").read_text().splitlines()]
    assert len(rows) == 8 and {row["weights"] for row in rows} == {"base", "trained"}
    assert rows[7] == {
        "file_name": "1-trained/00001-1.png",
        "text": "two blue squares",
        "weights": "trained",
        "seed": 1,
    }
    for row in rows:
        with Image.open(tmp_path / "drawn" / row["file_name"]) as picture:
            assert picture.size == (32, 32)
    assert json.loads((tmp_path / "drawn" / "settings.json").read_text())["steps"] == 2
    assert "8 pictures" in capsys.readouterr().out


def test_images_of_an_evaluation_are_told_with_their_scores(trained):
    _, last = read_evaluations(trained)
    rows = list(image_rows({"adapter": last}, [0, 1, 2, 3]))
    assert [row["file_name"] for row in rows[:3]] == [f"adapter/0000{name}.png" for name in ("0-0", "0-1", "1-0")]
    assert rows[2]["text"] == last.prompts[1] and rows[2]["shapes-verifier"] == last.scores["shapes-verifier"][2]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (b"---\nlicense: mit\n---\n# A model\n", "mit"),
        (b"---\ntags: [a]\n---\n", "not stated"),
        (b"---\nlicense: [mit\n---\n", "not stated"),
        (b"---\nlicense: mit\n---\ncaf\xe9", "mit"),
        (b"no header", "not stated"),
    ],
)
def test_the_licence_of_a_folder_is_what_its_card_states_however_it_is_written(tmp_path, card, licence):
    (tmp_path / "README.md").write_bytes(card)
    assert licence_of(str(tmp_path)) == licence
