"""Commands of a deployment: the change of what runs to another release, and the proof that a release works."""
