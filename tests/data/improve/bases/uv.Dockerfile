FROM localhost/python:minbase
RUN pip install --no-cache-dir uv
