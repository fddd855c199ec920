"""The XLM-R encoder, its heads, and Hugging Face weights in and out."""
