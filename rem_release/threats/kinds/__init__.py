"""A file, or a folder, for each threat, of the name that it has in recipes; `registry` finds them by themselves."""
