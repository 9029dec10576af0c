"""`fdfo studio`: where it serves, and what it says of folders and ports that it cannot take."""

import re
import socket

import pytest

from fdfo.commands.studio import run_studio
from fdfo.errors import ConfigError
from fdfo.web.server import Server
from tests.evaluation.fabricated import make_run


@pytest.fixture(autouse=True)
def _ends_at_once(monkeypatch):
    def interrupted(server):
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve", interrupted)


def test_a_port_in_use_is_passed_over_and_told(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run_studio([tmp_path], port)
    said = re.match(
        rf"port {port} is in use; taking (\d+)\n0 runs below {tmp_path}; .*:(\d+)/\n", capsys.readouterr().out
    )
    assert said and said[1] == said[2] != str(port)


def test_runs_are_counted(tmp_path, capsys):
    make_run(tmp_path / "one", prompts=2, shown=2, epochs=1)
    run_studio([tmp_path], 0)
    assert capsys.readouterr().out.startswith(f"1 run below {tmp_path}; watch it at http://127.0.0.1:")


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="none: no such folder; give one below which there are runs"):
        run_studio([tmp_path, tmp_path / "none"], 0)
