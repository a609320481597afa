"""Makes the evidence that follows from a model and its predictions, for a pipeline of a team's own."""
