"""The stream: /api/v1/stream, and /ws/subscribe with the same protocol."""

import contextlib
from collections.abc import AsyncIterator

from starlette.websockets import WebSocket

from recorder.web.access import Principal, guarded
from recorder.web.state import Web, web_of

_POLICY = 1008

router = guarded(None, tags=["stream"])


@router.websocket("/api/v1/stream")
@router.websocket("/ws/subscribe")
async def stream(socket: WebSocket) -> None:
    """Serve a client: snapshot first, then one tick a second, and gaps, alerts and states at once.

    Its Origin was checked before. Its login is checked here, because a handshake has no page to be sent to.
    """
    web = web_of(socket)
    principal: Principal | None = socket.scope["state"].get("principal")
    if principal is None:
        await socket.close(_POLICY, "log in first: /login, or POST /api/v1/auth/token")
        return

    def valid(now: float) -> bool:
        return not (principal.expires and now >= principal.expires) and not web.denied(principal)

    web.counts.sockets += 1
    try:
        await web.live.serve(socket, principal.name, valid)
    finally:
        web.counts.sockets -= 1


@contextlib.asynccontextmanager
async def ticking(web: Web) -> AsyncIterator[None]:
    """Make ticks while the program runs."""
    async with web.live.running():
        yield
    web.monitor.close()
