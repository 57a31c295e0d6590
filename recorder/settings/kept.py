"""The settings of the keeper: how long and how much is kept, where, and when it is archived."""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from recorder.settings.groups import Group, OptionalText, Words

LEAST_DAYS = 8
"""Least days that a table keeps. The writer keeps rows of older days apart: none makes a dropped partition again."""


class TableSettings(Group):
    """How long rows of one table stay in Postgres. What is dropped is in the archive."""

    days: float | None = Field(
        None, ge=LEAST_DAYS, description="Ended days are archived and dropped beyond this age, days; unset: kept"
    )
    gb: float | None = Field(
        None, gt=0, description="The oldest ended days beyond this size are archived and dropped, GiB; unset: kept"
    )


class KeeperSettings(Group):
    """The program that makes partitions, archives and drops ended days, trims journals and watches the disk."""

    enabled: bool = Field(True, description="Start it with the appliance; without it journals grow without end")
    off: Words = Field((), description="Jobs that do not run, such as archive; `tapedeck keep --list` names all")
    partitions_ahead_days: int = Field(14, ge=1, le=366, description="Day partitions created in advance")
    trade: TableSettings = TableSettings()
    quote: TableSettings = TableSettings()
    book: TableSettings = TableSettings()
    archive_dir: Annotated[Path | None, BeforeValidator(lambda value: value or None)] = Field(
        None, description="Folder of the archive; unset: archive in the home"
    )
    copy_to: OptionalText = Field(
        None,
        description="Second place of the archive: a folder, or an address of fsspec such as s3://bucket/tape, which "
        "needs the extra `archive`; unset: none",
    )
    budget_gb: float | None = Field(
        None,
        gt=0,
        description="Most disk space of journals, tables, WAL, archive, exports and logs together, GiB; unset: all",
    )
    let_go: bool = Field(
        False,
        description="Beyond the budget, when nothing else is left, remove archived days for good, the oldest first, "
        "each declared as a gap; false: report that the budget is exceeded",
    )
