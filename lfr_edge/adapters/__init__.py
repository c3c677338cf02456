"""One file per outside thing. Foreign errors are translated here and go no further."""
