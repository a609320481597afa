"""What the numbers of two models say of them: comparison, sentences, rules. Runs no code of a pull request."""
