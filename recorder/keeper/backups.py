"""The jobs that take a backup every day, and prove every day that the newest one can be restored."""

from recorder.backup import catalog, prove, take
from recorder.errors import ConfigError
from recorder.keeper.job import Outcome, Work
from recorder.printable import one_line

_MIB = 1 << 20
_YOUNG_S = 3600.0  # a first start must not begin with a copy of nothing


def take_backup(work: Work) -> Outcome:
    """Take a verified base backup, and remove those that are too old.

    Raises:
        StoreError, ConfigError, OSError: There is no backup, for the reason given.
    """
    if not catalog.backups(work.settings.backup.dir) and take.recorded_s(work.admin()) < _YOUNG_S:
        return Outcome("skipped", "the recording is younger than an hour; `tapedeck backup` takes one at once")
    take.claim(work.settings)  # a journal that is new since the last one
    backup = take.take(work.settings, work.admin(), work.stop, now=work.now)
    return Outcome(detail=f"{backup.note.name}, {backup.note.bytes / _MIB:,.0f} MiB, verified")


def prove_restore(work: Work) -> Outcome:
    """Restore the newest backup beside the server and compare a day with the tables.

    Raises:
        ConfigError: The backup is damaged, differs from the tables or cannot be restored; table restore_proof has why.
        StoreError, OSError: Nothing is known of it.
    """
    if not catalog.backups(work.settings.backup.dir):
        return Outcome("skipped", "there is no backup yet")
    proof = prove.prove(work.settings, work.admin(), work.stop, now=work.now)
    if proof.verdict != "proved":
        raise ConfigError(f"the backup {proof.name} is not proved ({proof.verdict}): {one_line(proof.detail)}")
    return Outcome(detail=f"{proof.name}: {proof.detail}")
