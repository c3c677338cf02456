"""Sealing, signing and key files. The only package that imports the cryptographic libraries."""
