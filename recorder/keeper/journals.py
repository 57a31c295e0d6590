"""The job `journals`: removes loaded segments beyond their age and size.

How far a journal is loaded is in the claims that its readers leave in its folder: the writer of each database, and each
reader of column files. What one of them has not read stays (`recorder.journal.retention`).
"""

from contextlib import closing
from pathlib import Path

import psycopg2

from recorder.backup import take
from recorder.journal.retention import Limits, Retention, read_claims
from recorder.keeper.job import Outcome, Work
from recorder.position import Position
from recorder.settings import Settings
from recorder.store import lineage
from recorder.store.database import KEEPER, classify, connect

POLLER = "poller"
"""Name of the journal of the poller, whose answers are kept for another time than what recorders receive."""


def trim_journals(work: Work) -> Outcome:
    """Remove old segments of all journals that the database of the settings has claimed.

    Raises:
        StoreError, ConfigError: The database cannot say which databases exist.
        OSError, JournalError: The disk failed; what was not removed stays.
    """
    with closing(connect(work.url(), application_name="keeper", role=KEEPER)) as connection:
        try:
            with connection.cursor() as cursor:
                own, present = lineage.identity(cursor)
        except psycopg2.Error as error:
            raise classify(error) from error
    claim_new(work.settings)
    removed = retention_of(work.settings).clean(loaded(work.settings.journal.dir, own), own, present)
    return Outcome("done", f"{removed >> 20} MiB removed") if removed else Outcome("skipped", "nothing is too old")


def claim_new(settings: Settings) -> None:
    """Let journals that are younger than the newest backup be kept for it, too: a restored server lacks all of them."""
    folders = [path.parent for path in settings.journal.dir.glob("*/journal.id")]
    if any(take.CLAIM not in read_claims(folder) for folder in folders):
        take.claim(settings)


def retention_of(settings: Settings) -> Retention:
    """Return the limits of the settings."""
    return Retention(settings.journal, {POLLER: Limits(settings.poller.keep_days, settings.poller.keep_gb)})


def loaded(folder: Path, database: str) -> list[tuple[Path, Position]]:
    """Return each journal that a database has claimed, and from which segment on it is not loaded."""
    found = []
    for path in sorted(folder.glob("*/journal.id")):
        claim = read_claims(path.parent).get(database)
        if claim is not None:
            found.append((path.parent, Position(claim.segment, 0)))
    return found
