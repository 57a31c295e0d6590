"""Models on disk: `<home>/models/<name>/<version>/` with its trees, its facts, its card and its data sheet."""

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import xgboost as xgb

from analysis.errors import ModelError
from analysis.models.model import Facts, Model, check_features

FACTS, TREES = "model.json", "trees.ubj"
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")


def save(model: Model, models: Path, papers: Mapping[str, str]) -> Path:
    """Write a model into the folder of all models; whole or not at all.

    Args:
        model: To be kept.
        models: Folder of all models.
        papers: File name -> text of what goes beside it: its card, its data sheet.

    Returns:
        Its own folder, `<models>/<name>/<version>`.

    Raises:
        ModelError: Its name can be no folder's.
    """
    facts = model.facts
    if not _NAME.fullmatch(facts.name):
        raise ModelError(f"{facts.name!r} is no name of a model: use small letters, digits, '_', '.' and '-'")
    target = models / facts.name / facts.version
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".making-", dir=target.parent))
    try:
        trees = bytes(model.booster.save_raw("ubj"))
        (scratch / TREES).write_bytes(trees)
        written = {**facts.json(), "trees_sha256": hashlib.sha256(trees).hexdigest()}
        (scratch / FACTS).write_text(json.dumps(written, indent=1) + "\n")
        for name, text in papers.items():
            (scratch / name).write_text(text)
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def load(folder: Path, definitions: Mapping[str, str] | None = None) -> Model:
    """A model from its folder.

    Args:
        folder: Of one version, or of a model: then its latest version.
        definitions: Of the features as they are computed now; checked unless None.

    Raises:
        ModelError: There is none, it is damaged, or its features are not what they were when it was trained.
    """
    place = latest(folder)
    try:
        written = json.loads((place / FACTS).read_text())
        trees = (place / TREES).read_bytes()
        told = written.pop("trees_sha256")
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{place} holds no whole model: {error}") from error
    if hashlib.sha256(trees).hexdigest() != told:
        raise ModelError(f"{place / TREES} is not the file its model.json names: fetch the model again")
    facts = Facts.of_json(written)
    if definitions is not None:
        check_features(facts, definitions)
    booster = xgb.Booster()
    booster.load_model(bytearray(trees))
    return Model(facts, booster)


def latest(folder: Path) -> Path:
    """The folder of one version: this one, or of the latest below it.

    Raises:
        ModelError: There is none.
    """
    if (folder / FACTS).is_file():
        return folder
    versions = sorted(path.parent for path in folder.glob(f"*/{FACTS}") if not path.parent.name.startswith("."))
    if not versions:
        raise ModelError(f"there is no model in {folder}: train one with tapedeck-analysis train")
    return versions[-1]
