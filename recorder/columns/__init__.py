"""The program that writes column files: a second reader of the journals, beside the writer."""
