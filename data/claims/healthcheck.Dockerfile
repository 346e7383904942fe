# A health check whose program is spread over several lines between quotes, as the section writes it.
FROM busybox
HEALTHCHECK --interval=30s --timeout=10s \
    CMD python -c "
import sys
sys.exit(0)
"
