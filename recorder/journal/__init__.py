"""The journal on disk: blocks, writer, reader, corruption, lineage, retention."""
