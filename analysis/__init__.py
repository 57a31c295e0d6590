"""From the tape to bars, indicators, features, labels and splits: pure functions of arrays.

Nothing in here opens a socket, a file or a database; `load` and `save` are the doors, and everything else takes arrays.
"""
