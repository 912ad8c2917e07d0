"""A DynamoDB for tests: moto's, behind a server that answers one request after another.

moto's own server answers several at once, and then a condition can be judged on what another
request is just changing: two conditional puts of one item could both succeed.

    python dynamodb.py PORT
"""

import logging
import sys

from moto.dynamodb.responses import DynamoHandler
from werkzeug.serving import run_simple
from werkzeug.wrappers import Request, Response


@Request.application
def application(request: Request) -> Response:
    status, headers, body = DynamoHandler.dispatch(request, request.url, request.headers)
    return Response(body, status, headers)


if __name__ == "__main__":
    # Else it logs every request.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    run_simple("127.0.0.1", int(sys.argv[1]), application)
