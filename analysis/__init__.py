"""From recorded data to bars, indicators, features, labels, models and reports.

`load` reads recorded rows, `export` writes them to an archive, and `feature_tables` keeps computed features as files.
`arrays`, `bars`, `event_bars`, `indicators`, `features`, `prediction_markets`, `labels`, `splits` and `audit` are pure
functions of arrays. `models` and `evaluation` train and evaluate, `plots` draws, `cli` is the command line.
"""
