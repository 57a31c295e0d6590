"""What must hold before the first connection is accepted."""

from recorder.errors import ConfigError, StoreUnavailable
from recorder.settings import Settings
from recorder.web.queries.pool import Pool
from recorder.web.security import users


def require_users(settings: Settings, pool: Pool) -> None:
    """Refuse to be reachable from elsewhere while no user can log in.

    Raises:
        ConfigError: the address is not loopback, and there is no user or Postgres cannot be asked.
    """
    if settings.web.on_loopback:
        return
    try:
        with pool.transaction() as cursor:
            found = users.any_user(cursor)
    except StoreUnavailable as error:
        raise ConfigError(f"web.host {settings.web.host} needs users, and Postgres cannot be asked: {error}") from None
    if not found:
        raise ConfigError(f"web.host {settings.web.host} needs users first: tapedeck users add NAME --role admin")
