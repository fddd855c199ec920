"""Small data sets as the Hugging Face Hub and TFDS hold them, written by `datasets` and by TFDS themselves."""

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import tensorflow_datasets as tfds
from datasets import ClassLabel, Features, List, Value
from tensorflow_datasets import features as kinds

INFERENCE = ["entailment", "neutral", "contradiction"]
ENTITIES = ["O", "B-PER", "I-PER", "B-ORG", "I-ORG", "B-LOC", "I-LOC"]
TEXT = Value("string")
ANSWERS = {"text": List(TEXT), "answer_start": List(Value("int32"))}


def hub_features(**columns: Any) -> Features:
    """A schema of the hub; a list of names is a class."""
    return Features(
        {name: ClassLabel(names=kind) if isinstance(kind, list) else kind for name, kind in columns.items()}
    )


def write_parquet(path: Path, features: Features, records: list[dict[str, Any]]) -> Path:
    """A Parquet file as the hub keeps it: with the schema of `datasets` in its metadata."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with redirect_stderr(io.StringIO()):
        datasets.Dataset.from_list(records, features=features).to_parquet(path)
    return path


def tfds_features(**columns: Any) -> kinds.FeaturesDict:
    """A schema of TFDS; a list of names is a class."""
    return kinds.FeaturesDict(
        {name: kinds.ClassLabel(names=kind) if isinstance(kind, list) else kind for name, kind in columns.items()}
    )


def squad_features() -> kinds.FeaturesDict:
    answers = kinds.Sequence({"text": kinds.Text(), "answer_start": np.int32})
    return tfds_features(id=np.str_, title=kinds.Text(), context=kinds.Text(), question=kinds.Text(), answers=answers)


def prepare(
    data: Path,
    builder: str,
    version: str,
    features: kinds.FeaturesDict,
    splits: dict[str, list[dict[str, Any]]],
    shards: int = 1,
) -> Path:
    """A builder of TFDS prepared in tfds/ of the data folder as array_record, without TensorFlow or network."""
    name, _, config = builder.partition("/")

    class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """The official builder's name and schema, over rows of ours."""

        VERSION = tfds.core.Version(version)
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=config)] if config else []

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, _):
            return {split: self._generate_examples(records) for split, records in splits.items()}

        def _generate_examples(self, records):
            yield from ((str(number), record) for number, record in enumerate(records))

    Prepared.name = name
    with redirect_stderr(io.StringIO()), redirect_stdout(io.StringIO()):
        made = Prepared(data_dir=data / "tfds", config=config or None, file_format="array_record")
        made.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=shards))
    return Path(made.data_dir)
