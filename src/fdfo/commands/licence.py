"""The licence of a model."""

from pathlib import Path

from fdfo.documents import BadDocument, parse_yaml

NOT_STATED, NOT_KNOWN = "not stated", "not known (the hub does not answer)"


def licence_of(place: str) -> str:
    """As the model card of a folder or hub id states it."""
    card = Path(place) / "README.md"
    if card.is_file():
        _, _, rest = card.read_text(encoding="utf-8", errors="replace").partition("---\n")
        try:
            header = parse_yaml(rest.partition("\n---")[0])
        except BadDocument:
            return NOT_STATED
        return str(header.get("license", NOT_STATED)) if isinstance(header, dict) else NOT_STATED
    if Path(place).is_dir():
        return NOT_STATED
    from huggingface_hub import HfApi

    try:
        card_data = HfApi().model_info(place, timeout=5.0).card_data
    except Exception:  # any network error means the same here; loading, next, explains it
        return NOT_KNOWN
    return str(card_data.get("license") or NOT_STATED) if card_data else NOT_STATED
