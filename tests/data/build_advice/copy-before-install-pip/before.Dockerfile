FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /app
COPY . .
RUN pip install -r requirements.txt
