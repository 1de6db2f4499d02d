"""What is published: facts, card, figures, and the checks that prove them."""
