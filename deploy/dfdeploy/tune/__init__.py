"""``dfdeploy tune``: which build of a detector, with how many threads and clips at once, is fastest on this machine."""
