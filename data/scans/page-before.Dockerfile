FROM localhost/busybox:static
WORKDIR /www
COPY --chmod=777 . .
EXPOSE 8080
CMD httpd -f -p 8080
