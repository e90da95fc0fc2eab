"""Audio in while it plays, scores out: `stream` faces the user, `core` keeps the state, `engine` the threads."""
