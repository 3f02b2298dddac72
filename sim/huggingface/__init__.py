"""From a checkpoint's config.json, as Hugging Face's transformers write it, to a model of the catalogue."""
