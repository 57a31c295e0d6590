"""The settings of backups."""

from pathlib import Path

from pydantic import Field

from recorder.settings.groups import Group


class BackupSettings(Group):
    """Base backups of Postgres, which the keeper takes and proves every day. `keeper.off` switches its jobs off."""

    dir: Path = Field(
        Path(), description="Folder of the backups, best on another disk; unset: backups/<database.name> in the home"
    )
    keep_days: int = Field(7, ge=1, le=3650, description="Backups are kept this long, and the newest one always")
    timeout_s: float = Field(
        14_400, ge=60, le=604_800, description="A backup, a check or a restore proof that takes longer is given up"
    )
