"""The category of a market, by a fixed priority of its tags."""

from collections.abc import Iterable
from typing import Literal

Category = Literal[
    "politics", "sports", "crypto", "economy", "weather", "tech", "culture", "world", "mentions", "other"
]  # fmt: skip

# The first category that one of the tags names. The venue's lists are open, so what is not here is "other".
_SLUGS: tuple[tuple[Category, frozenset[str]], ...] = (
    ("politics", frozenset({"politics", "elections", "us-current-affairs", "global-elections"})),
    ("sports", frozenset({"sports", "games", "esports", "olympics"})),
    ("crypto", frozenset({"crypto", "crypto-prices", "nfts"})),
    ("economy", frozenset({"finance", "economy", "economics", "business", "stocks"})),
    ("weather", frozenset({"weather"})),
    ("tech", frozenset({"tech", "ai"})),
    ("culture", frozenset({"pop-culture", "culture"})),
    ("world", frozenset({"world", "geopolitics"})),
    ("mentions", frozenset({"mentions", "mention-markets"})),
)


def category_of(tags: Iterable[str], old_category: str | None = None) -> Category:
    """Return the category of a market.

    Args:
        tags: Slugs of its tags.
        old_category: The label that rows had before there were tags, such as "US-current-affairs".
    """
    slugs = {tag.strip().lower() for tag in tags}
    if old_category:
        slugs.add("-".join(old_category.lower().split()))
    for category, known in _SLUGS:
        if slugs & known:
            return category
    return "other"
