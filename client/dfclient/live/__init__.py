"""Audio in while it plays, scores out: `stream` is for users, `core` keeps the state, `engine` the connection."""
