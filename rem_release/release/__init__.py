"""What goes out: facts, card, figures, and the checks that prove them."""
