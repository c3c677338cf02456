"""The watchlist office: from photos and a list to a sealed deployment package. Prints nothing; `cli` does."""
