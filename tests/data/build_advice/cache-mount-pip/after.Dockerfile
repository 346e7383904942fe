FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements.txt /
RUN --mount=type=cache,target=/root/.cache/pip pip install -r requirements.txt
