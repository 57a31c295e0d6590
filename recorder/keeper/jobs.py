"""The list of all jobs of the keeper."""

from recorder.errors import ConfigError, nearest
from recorder.keeper.archive import archive_days
from recorder.keeper.backups import prove_restore, take_backup
from recorder.keeper.budget import watch_disk
from recorder.keeper.check import check_archive
from recorder.keeper.copies import copy_archive
from recorder.keeper.job import Daily, Every, Job
from recorder.keeper.journals import trim_journals
from recorder.keeper.partitions import make_partitions
from recorder.keeper.polls import fold_polls
from recorder.keeper.vacuum import freeze_days
from recorder.settings import Settings

JOBS = (
    Job("partitions", Every(3600), make_partitions, "Make the day partitions of coming days.", retry_s=10.0),
    Job("journals", Every(60), trim_journals, "Remove loaded segments of journals beyond their age and size."),
    Job("polls", Daily(3, 30), fold_polls, "Move rows of poll_run that are older than 7 days into daily sums."),
    Job("vacuum", Daily(1, 10), freeze_days, "VACUUM (FREEZE) the partitions of ended days."),
    Job("archive", Every(600), archive_days, "Archive ended days beyond the limits, compare them, and drop them."),
    Job("copies", Every(600), copy_archive, "Copy the archive to the second place, and read it back."),
    Job("check", Daily(5, 10), check_archive, "Read the files of the archive again, and compare their SHA-256."),
    Job("budget", Every(300), watch_disk, "Measure the disk, and free space beyond its budget in a fixed order."),
    Job("backup", Daily(2, 10), take_backup, "Take a base backup of Postgres, verify it, remove old ones.",
        retry_s=900.0),
    Job("restore-proof", Daily(4, 10), prove_restore, "Restore the newest backup beside the server and compare a day.",
        retry_s=3600.0),
)  # fmt: skip


def jobs_of(settings: Settings) -> tuple[Job, ...]:
    """Return the jobs that the settings ask for.

    Raises:
        ConfigError: `keeper.off` names a job that does not exist.
    """
    names = [job.name for job in JOBS]
    for name in settings.keeper.off:
        if name not in names:
            raise ConfigError(f"keeper.off names a job that does not exist: {name}{nearest(name, names)}")
    return tuple(job for job in JOBS if job.name not in settings.keeper.off)
