FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /app
COPY requirements.txt /app/
RUN pip install -r requirements.txt
COPY . .
