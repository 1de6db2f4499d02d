"""What people read: the figures and the page."""
