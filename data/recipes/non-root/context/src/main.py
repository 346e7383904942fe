"""Answers on port 8000 with what is in its folder."""

import http.server

http.server.ThreadingHTTPServer(("", 8000), http.server.SimpleHTTPRequestHandler).serve_forever()
