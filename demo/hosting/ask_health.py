"""Asks the server of this machine for its health; the exit status is 1 if it has none.

python -m demo.hosting.ask_health
"""

import sys
import urllib.error
import urllib.request

from demo.hosting.settings import settings

_TIMEOUT = 32.0  # seconds; a check takes at most 30


def main() -> int:
    """Print the answer, and return the exit status."""
    found = settings()
    host = found.server_name if found.server_name not in ("0.0.0.0", "::") else "127.0.0.1"
    request = urllib.request.Request(f"http://{host}:{found.server_port}/health")
    if found.monitoring_token is not None:
        token = found.monitoring_token.get_secret_value()
        request.add_header("Authorization", f"Bearer {token}")
    # Directly, whatever proxy the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=_TIMEOUT) as answer:
            print(answer.read().decode())
        return 0
    except urllib.error.HTTPError as error:
        print(error.read().decode())
    except OSError as error:
        print(f"The server does not answer: {error}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
