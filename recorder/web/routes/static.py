"""Files that browsers get: scripts, styles, icons."""

from starlette.requests import Request
from starlette.responses import Response

from recorder.web.access import guarded
from recorder.web.answers.problems import Problem
from recorder.web.assets import Assets

_FOREVER = "public, max-age=31536000, immutable"

router = guarded(None, include_in_schema=False)


@router.get("/static/{version}/{path:path}")
async def static(request: Request, version: str, path: str) -> Response:
    """Return a file. One with the digest of now never changes; a page that is older gets today's file for once."""
    assets: Assets = request.app.state.assets
    asset = assets.get(path)
    if asset is None:
        raise Problem(404, "there is no such file")
    caching = _FOREVER if version == assets.version else "no-cache"
    return Response(asset.body, headers={"Content-Type": asset.content_type, "Cache-Control": caching})


@router.get("/favicon.ico")
async def favicon(request: Request) -> Response:
    """Return the icon for browsers that look for it by its usual name."""
    assets: Assets = request.app.state.assets
    asset = assets.get("icon.svg")
    if asset is None:
        raise Problem(404, "there is no icon")
    return Response(asset.body, headers={"Content-Type": asset.content_type, "Cache-Control": "public, max-age=86400"})
