"""The first command of our GPU image: Triton with the options that ``dfdeploy serve --server docker`` gives it.

A program, and not a line of the Dockerfile, because the key that guards Triton's own calls is another one at each start
(see `dfdeploy.doors`), and TLS is told by the environment (see `dfdeploy.tls`). What follows the image's name in
``docker run`` stands in the place of the option of that name.
"""

import os
import sys

from dfdeploy import container, tls
from dfdeploy.errors import DeployError


def main() -> None:
    """Become Triton, so that it gets the container's signals."""
    given = {argument.partition("=")[0] for argument in sys.argv[1:]}
    try:
        secured = tls.of()
        if secured:
            os.environ.update(secured.expiry())
        ours = [
            option for option in container.triton_command("gpu", tls=secured) if option.partition("=")[0] not in given
        ]
    except DeployError as error:
        sys.exit(f"dfdeploy: error: {error}")
    command = [*ours, *sys.argv[1:]]
    os.execvp(command[0], command)  # noqa: S606  (no shell in between)


if __name__ == "__main__":
    main()
