"""Days that the keeper archived and dropped, so that a database and its archive read as one tape."""
