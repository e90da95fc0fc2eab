"""Makes the pages of the documentation site that are generated; it runs inside `mkdocs build`, and is no package."""
