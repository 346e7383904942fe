"""Ask a program on a port of this container for paths; print status and page of each. A container of the checker runs this."""

import http.client
import sys
import time

port, *paths = sys.argv[1:]
end = time.time() + 60
for path in paths:
    while time.time() < end:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
            connection.request("GET", path)
            page = connection.getresponse()
            print(page.status, page.read(100_000))
            break
        except OSError:
            time.sleep(0.25)
