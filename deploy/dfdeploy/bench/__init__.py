"""`dfdeploy bench`: how fast a server is, what serving costs, and how much of its rate the client gets."""
