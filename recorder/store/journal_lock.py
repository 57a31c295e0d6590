"""The lock of a journal: one writer at a time loads it."""

from recorder.process.log import get_logger
from recorder.store.database import WRITER, Cursor

_log = get_logger(__name__)

_HOLDERS = """
SELECT a.usename, pg_has_role(a.usesysid, %s, 'MEMBER')
  FROM (SELECT hashtextextended(%s, 0) AS key) k, pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND (l.classid::bigint << 32 | l.objid::bigint) = k.key
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def try_lock(cursor: Cursor, journal_id: str) -> bool:
    """Lock a journal. Every login may take an advisory lock, so one of a login that cannot load is ignored."""
    key = f"tapedeck.writer.{journal_id}"
    cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,))
    if cursor.fetchone() == (True,):
        return True
    cursor.execute(_HOLDERS, (WRITER, key))
    holders = cursor.fetchall()
    if not holders or any(may_write for _, may_write in holders):
        return False
    _log.warning("journal.lock_ignored", journal_id=journal_id, login=holders[0][0])
    return True
