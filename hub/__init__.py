"""A model's folder as the HuggingFace Hub has it: writing it, loading it."""
