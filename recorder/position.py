"""A place in a journal, shared by the journal's reader and the store."""

import msgspec


class Position(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where a block begins; ordered as the journal is written."""

    segment: int  # number of the segment file
    offset: int  # bytes from its start
