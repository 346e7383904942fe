"""Serve a folder of wheels on loopback with the caching header that the public index sends: behind a mirror that
sends none, pip keeps nothing, and there would be nothing to see."""

import http.server
import sys
from functools import partial


class Handler(http.server.SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Cache-Control", "max-age=365000000, immutable, public")
        super().end_headers()


http.server.ThreadingHTTPServer(("127.0.0.1", 8123), partial(Handler, directory=sys.argv[1])).serve_forever()
