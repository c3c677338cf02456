"""How well an engine set recognises: measurement per ISO/IEC 19795-1, offline. Never part of a van.

It measures the product's own code: extractor, search, recogniser. Prints nothing; `cli` does.
"""
