"""The Hugging Face Hub, through its own client: what stands in a repository, the upload, and the proof afterwards."""
