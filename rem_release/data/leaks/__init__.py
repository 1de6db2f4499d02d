"""What could carry a clean picture out of a release beside its images: values, names, types, and room for them."""
