FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY . /app
RUN pip install left right
