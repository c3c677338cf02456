"""Where faces are, how good they are, who is who from picture to picture. Pure numpy: no I/O, threads or clock."""
