FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements.txt /
RUN pip install --no-cache-dir -r requirements.txt
