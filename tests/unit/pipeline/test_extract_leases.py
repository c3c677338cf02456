"""Features of one face: joined over embedders, averaged over the mirror image, aligned as the manifest says."""
