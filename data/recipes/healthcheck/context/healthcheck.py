"""Exit code 0 if the program answers."""

import urllib.request

urllib.request.urlopen("http://localhost:8000/", timeout=5)
