"""gcp-storage-emulator in a process of its own, with what it lacks: ifGenerationMatch is ignored there.

Prints its port. The server takes one request after the other, so that to compare and to write are one.
"""

import json
import sys
import time
from http import HTTPStatus

from gcp_storage_emulator.exceptions import NotFound
from gcp_storage_emulator.handlers import objects


def conditional(handler):
    """A handler that answers 412 where the object is not of the generation that the request names (0: none)."""

    def handle(request, response, storage, *args, **kwargs):
        for wanted in request.query.get("ifGenerationMatch", ()):
            name = request.params.get("object_id") or request.query.get("name", [None])[0]
            name = name or request.data["meta"]["name"]
            try:
                found = storage.get_file_obj(request.params["bucket_name"], name)["generation"]
            except NotFound:
                found = "0"
            if found != wanted:
                response.status = HTTPStatus.PRECONDITION_FAILED
                response.json({"error": {"code": 412, "message": f"generation {found}, wanted {wanted}"}})
                return None
        return handler(request, response, storage, *args, **kwargs)

    return handle


objects.insert = conditional(objects.insert)
objects.delete = conditional(objects.delete)

from gcp_storage_emulator.server import create_server  # takes the handlers as they are now

server = create_server("127.0.0.1", 0, in_memory=True, default_bucket="bucket")
server.start()
print(json.dumps(server._api._httpd.server_address[1]), flush=True)
try:
    sys.stdin.read()  # until the test closes it
finally:
    server.stop()
    time.sleep(0)
