"""Checksums of order books over the texts of their levels."""

from zlib import crc32


def interleaved_crc32(bids: list[bytes], asks: list[bytes]) -> int:
    """Return the signed CRC-32 of the levels joined by colons: a bid and an ask in turn, rank by rank.

    Where one side has fewer levels, the rest of the other side follows without gaps.

    Args:
        bids: `price:size` of the bids that count, best first.
        asks: The same of the asks.
    """
    texts = bids + asks
    if len(bids) == len(asks):
        texts[::2], texts[1::2] = bids, asks
    else:
        both = min(len(bids), len(asks))
        texts[: 2 * both : 2], texts[1 : 2 * both : 2] = bids[:both], asks[:both]
        texts[2 * both :] = bids[both:] or asks[both:]
    checksum = crc32(b":".join(texts))
    return checksum - (1 << 32) if checksum >> 31 else checksum
