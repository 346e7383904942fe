FROM localhost/python:slim
RUN --mount=type=bind,source=wheels,target=/wheels pip install --no-index --find-links=/wheels \
    requests==2.31.0 \
    urllib3==1.26.18
COPY app.py /app/app.py
CMD ["python3", "/app/app.py"]
