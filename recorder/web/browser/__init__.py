"""The table browser: every table and view that tapedeck_reader may read, and nothing else."""
