"""What several tasks' declarations have in common: where XTREME's download leaves its files."""

XTREME_DOWNLOAD = "scripts/download_data.sh of github.com/google-research/xtreme writes its download/ folder"


def codes(listed: str) -> tuple[str, ...]:
    """Language codes or other words out of one string."""
    return tuple(listed.split())


def xtreme(folder: str, *splits: str) -> dict[str, tuple[str, ...]]:
    """The patterns of these splits, or of train, dev and test, in a folder of XTREME's TAB-separated files."""
    return {split: (f"{folder}/{split}-{{lang}}.tsv",) for split in splits or ("train", "dev", "test")}


def translated(folder: str) -> dict[str, tuple[str, ...]]:
    """The patterns of train, dev and test of a user's translations (`sources.translated`)."""
    return {split: (f"translated/{folder}/{split}-{{lang}}.jsonl",) for split in ("train", "dev", "test")}
