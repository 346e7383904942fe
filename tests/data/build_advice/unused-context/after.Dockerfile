FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY app.py /app/
