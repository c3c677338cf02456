"""Memory that forgets: the only place where pixels, faces and features of passers-by may be."""
