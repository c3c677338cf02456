"""The enrolled people of one deployment: entries, templates, pictures, and the package they travel in."""
