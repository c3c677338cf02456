"""Live facial recognition at the edge: only matches leave the van, everybody else leaves nothing."""
