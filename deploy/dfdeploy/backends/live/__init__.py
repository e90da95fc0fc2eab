"""Audio in chunks, a score for each window while it plays: the backend of ``<detector>_live``."""
