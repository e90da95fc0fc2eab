"""What the field measures a detector with; one file a measure, each with its source."""
