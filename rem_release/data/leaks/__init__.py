"""What could carry a clean image out of a release beside its image column: values, names, types, and room for them."""
