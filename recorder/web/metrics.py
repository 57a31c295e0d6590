"""Metrics of this program, in the text format of Prometheus."""

from recorder.web.state import Web


def exposition(web: Web) -> bytes:
    """Return the metrics."""
    lines: list[str] = []

    def add(name: str, kind: str, help_text: str, values: list[tuple[str, float]]) -> None:
        lines.extend((f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"))
        lines.extend(f"{name}{labels} {value:g}" for labels, value in values)

    requests = sorted(web.counts.requests.items())
    add("tapedeck_web_requests_total", "counter", "Answers by route and status.",
        [
            (f'{{route="{_label(route)}",status="{status}"}}', number)
            for (route, status), number in requests
        ])  # fmt: skip
    add("tapedeck_web_request_seconds_total", "counter", "Time that all answers took.", [("", web.counts.seconds)])
    add("tapedeck_web_refused_total", "counter", "Requests above the rate limit.", [("", web.counts.refused)])
    add("tapedeck_web_sockets", "gauge", "Open streams.", [("", web.counts.sockets)])
    add("tapedeck_web_cache_hits_total", "counter", "Answers taken from the cache.", [("", web.cache.hits)])
    add("tapedeck_web_cache_misses_total", "counter", "Answers that had to be made.", [("", web.cache.misses)])
    asked = web.cache.hits + web.cache.misses
    add("tapedeck_web_cache_hit_ratio", "gauge", "Share of answers taken from the cache.",
        [("", web.cache.hits / asked if asked else 0.0)])  # fmt: skip
    add("tapedeck_web_cache_bytes", "gauge", "Size of the cache.", [("", web.cache.bytes)])
    add("tapedeck_web_pool_in_use", "gauge", "Connections to Postgres in use.", [("", web.pool.in_use)])
    add("tapedeck_web_pool_size", "gauge", "Connections to Postgres at most.", [("", web.pool.size)])
    add("tapedeck_web_pool_exhausted_total", "counter", "Requests that got no connection in time.",
        [("", web.pool.waits)])  # fmt: skip
    add("tapedeck_web_database_up", "gauge", "Whether Postgres answered at the last attempt.",
        [("", float(web.pool.problem() is None))])  # fmt: skip
    return ("\n".join(lines) + "\n").encode()


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
