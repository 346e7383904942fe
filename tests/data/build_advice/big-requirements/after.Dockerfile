FROM localhost/imagelab-installers:test
RUN echo FRESH
COPY requirements-base.txt ./
RUN pip install --no-cache-dir -r requirements-base.txt
COPY requirements.txt ./
RUN pip install --no-cache-dir -r requirements.txt
