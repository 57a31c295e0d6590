"""The settings of the column files."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from recorder.settings.groups import Group


class ColumnsSettings(Group):
    """The process that writes column files from the journals, for programs that map them into memory."""

    enabled: bool = Field(False, description="Start it with the appliance")
    dir: Path = Field(Path(), description="Folder of the files; unset: columns/<database.name> in the home")
    floats: Literal["f32", "f64"] = Field(
        "f32", description="Type of prices and sizes: f32 keeps 7 digits in half the space, f64 is exact"
    )
    buffer_bytes: int = Field(
        65_536, ge=1024, le=64 << 20, description="A column with so many unwritten bytes has all columns written"
    )
    flush_s: float = Field(5.0, ge=0.05, le=3600, description="Rows are written at this age at the latest")
    fsync_s: float = Field(
        60.0, ge=1, le=3600, description="Files reach the disk this often; after a power cut the rest is read again"
    )
    retention_days: int = Field(30, ge=1, le=36_500, description="Files of earlier days are removed")
    max_lag_s: float = Field(
        60, gt=0, description="Behind the journals by more than this, the program reports that it is degraded"
    )
