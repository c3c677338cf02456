"""How fast the real path is on this machine, and how far from what the machine can do.

One measurement is one process, so that memory and processor time are its own. What runs is the van's own recogniser;
who puts it together with the van's threads is `cli.bench`. Comparisons with other software are the developers'
(`tests/bench`): nothing of them is needed here.
"""
