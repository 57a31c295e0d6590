"""What the pages of charts, books, prediction markets, spreads and models show.

Each function takes a cursor in a transaction that only reads, and gives plain values for JSON. Instants are seconds
since 1970 where a drawing needs numbers, else aware datetimes in UTC.
"""
