"""The people's side: what arrives from vans is checked, opened, shown. Never reaches pixels, templates or numpy."""
