FROM localhost/imagelab-installers:test
RUN echo FRESH
WORKDIR /app
COPY requirements.txt ./
RUN pip install -r requirements.txt
COPY . .
