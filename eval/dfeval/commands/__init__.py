"""The commands of ``dfeval``, one file each: ``add`` states its options, and what it does is its default ``run``."""
