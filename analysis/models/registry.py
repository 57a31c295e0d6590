"""Models on disk: `<home>/models/<name>/<version>/` with trees, metadata, model card and data sheet."""

import hashlib
import json
import re
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import xgboost as xgb

from analysis.errors import ModelError
from analysis.models.model import Model, ModelMetadata, check_features

METADATA, TREES = "model.json", "trees.ubj"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def save(model: Model, models: Path, papers: Mapping[str, str]) -> Path:
    """Write a model into the folder of all models, completely or not at all.

    Args:
        model: Model to write.
        models: Folder of all models.
        papers: File name -> text of the documents beside it: model card, data sheet.

    Returns:
        The folder of the model, `<models>/<name>/<version>`.

    Raises:
        ModelError: The name of the model is not usable as a folder.
    """
    metadata = model.metadata
    if not _NAME.fullmatch(metadata.name):
        raise ModelError(
            f"{metadata.name!r} is not a valid model name: use lower-case letters, digits, '_', '.' and '-'"
        )
    target = models / metadata.name / metadata.version
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        trees = bytes(model.booster.save_raw("ubj"))
        (scratch / TREES).write_bytes(trees)
        written = {**metadata.json(), "trees_sha256": hashlib.sha256(trees).hexdigest()}
        (scratch / METADATA).write_text(json.dumps(written, indent=1) + "\n")
        for name, text in papers.items():
            (scratch / name).write_text(text)
        scratch.chmod(stat.S_IMODE(target.parent.stat().st_mode))  # mkdtemp closes it to all others
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def load(folder: Path, definitions: Mapping[str, str] | None = None) -> Model:
    """Load a model from its folder.

    Args:
        folder: Folder of one version, or of a model (then its latest version).
        definitions: Current definitions of the features; None skips the check.

    Raises:
        ModelError: There is no model, it is damaged, or its features changed after the training.
    """
    place = latest(folder)
    try:
        written = json.loads((place / METADATA).read_text())
        trees = (place / TREES).read_bytes()
        expected = written.pop("trees_sha256")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{place} holds no complete model: {error}") from error
    if hashlib.sha256(trees).hexdigest() != expected:
        raise ModelError(f"{place / TREES} is not the file that its model.json names: copy the model again")
    metadata = ModelMetadata.of_json(written)
    if definitions is not None:
        check_features(metadata, definitions)
    booster = xgb.Booster()
    booster.load_model(bytearray(trees))
    return Model(metadata, booster)


def latest(folder: Path) -> Path:
    """Return the folder of one version: this one, or the latest below it.

    Raises:
        ModelError: There is no model.
    """
    if (folder / METADATA).is_file():
        return folder
    versions = sorted(path.parent for path in folder.glob(f"*/{METADATA}") if not path.parent.name.startswith("."))
    if not versions:
        raise ModelError(f"there is no model in {folder}: train one with tapedeck-analysis train")
    return versions[-1]
