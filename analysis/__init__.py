"""From the tape to bars, indicators, features, labels and splits: pure functions of arrays.

Three modules open files and databases: `load` reads the tape, `export` writes it to an archive, `published` keeps
tables of features. `cli` is for a terminal. Everything else takes arrays.
"""
