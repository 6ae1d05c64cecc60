"""What is told of a model: facts from its files, as a card or as lines."""
