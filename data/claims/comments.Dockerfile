# Comments behind an instruction, as the section writes them.
FROM busybox
COPY . /app       # changes often
WORKDIR /app
