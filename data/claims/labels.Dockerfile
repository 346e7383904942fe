# Labels whose values are variables, in a stage that declares none of them, as the section writes it.
FROM busybox
LABEL org.opencontainers.image.title="Sales" \
      org.opencontainers.image.created="${BUILD_DATE}" \
      org.opencontainers.image.revision="${VCS_REF}"
