"""A DynamoDB for tests: moto's, behind a server that answers one request after another.

moto's own server answers several at once, and then a condition can be judged on what another
request is just changing: two conditional puts of one item could both succeed.

    python dynamodb.py PORT
"""

import sys

from moto.dynamodb.responses import DynamoHandler
from werkzeug.serving import WSGIRequestHandler, run_simple
from werkzeug.wrappers import Request, Response


@Request.application
def application(request: Request) -> Response:
    status, headers, body = DynamoHandler.dispatch(request, request.url, request.headers)
    return Response(body, status, headers)


class Quiet(WSGIRequestHandler):
    """Logs errors only."""

    def log_request(self, code="-", size="-"):
        pass


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), application, request_handler=Quiet)
