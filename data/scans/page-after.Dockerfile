FROM localhost/busybox:static
LABEL org.opencontainers.image.title="page" org.opencontainers.image.version="1.0.0" \
    org.opencontainers.image.revision="0123456" org.opencontainers.image.source="https://git.example/page" \
    org.opencontainers.image.licenses="BSD-3-Clause"
WORKDIR /www
COPY index.html .
EXPOSE 8080
USER 65534:65534
HEALTHCHECK --interval=1s CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/"]
CMD ["httpd", "-f", "-p", "8080"]
