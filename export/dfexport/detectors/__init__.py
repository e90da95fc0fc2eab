"""Architectures, one file a family, each with a `dfexport.family.Family` that a registry row names."""
