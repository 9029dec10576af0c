"""`fdfo push`: an adapter with its card to the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory

from fdfo.commands.card import CARD
from fdfo.commands.export import export_to
from fdfo.commands.terminal import say
from fdfo.errors import ConfigError, FdfoError, first_line
from fdfo.hub import hub_advice, reaching_hub


def run_push(
    run: Path, repository: str, checkpoint: str | None, licence: str | None, private: bool, dry_run: bool
) -> None:
    """Upload the adapter with its card to the hub; a dry run shows the files and the card.

    Raises ConfigError for a name that is no repository, FdfoError for what the hub refuses.
    """
    if repository.count("/") != 1 or not all(repository.split("/")):
        raise ConfigError("the command line", [f"{repository}: expected OWNER/NAME, as of a page of the hub"])
    with TemporaryDirectory() as place:
        folder = Path(place)
        chosen = export_to(run, "diffusers", checkpoint, folder, card_for=repository, licence=licence)
        if dry_run:
            for path in sorted(folder.iterdir()):
                say(f"{path.stat().st_size:>12}  {path.name}")
            say((folder / CARD).read_text(encoding="utf-8"))
            say(f"nothing was sent; without --dry-run this becomes {repository}")
            return
        say(f"wrote {_sent(folder, repository, f'{run.name}, {chosen}', private)}")


def _sent(folder: Path, repository: str, message: str, private: bool) -> str:
    """The address of the commit."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        with reaching_hub(repository):
            api.create_repo(repository, private=private, exist_ok=True)
            options = {"folder_path": folder, "ignore_patterns": [".*"], "commit_message": message}  # no lock
            commit = api.upload_folder(repo_id=repository, **options)
    except (OSError, HfHubHTTPError) as error:
        refused = getattr(getattr(error, "response", None), "status_code", None) in (401, 403)
        advice = "run `hf auth login` with a token that may write there" if refused else hub_advice(error, None)
        raise FdfoError(f"{repository}: {advice} ({first_line(error)})") from error
    return commit.commit_url
