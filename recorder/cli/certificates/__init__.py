"""`tapedeck certify`, and the check of stored rows in `tapedeck replay --check`."""
