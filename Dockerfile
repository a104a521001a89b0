# The demo on a processor:  docker build -t gradcam .  and  docker run --rm -p 7860:7860 gradcam
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 demo
WORKDIR /home/demo/app

# PyTorch's own index has torch without CUDA, which is smaller by gigabytes.
COPY requirements.txt requirements.lock ./
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    -c requirements.lock -r requirements.txt

COPY app.py pyproject.toml ./
COPY gradcam_core gradcam_core
COPY demo demo

USER demo
ENV GRADIO_SERVER_NAME=0.0.0.0 GRADIO_SERVER_PORT=7860 PYTHONUNBUFFERED=1
EXPOSE 7860
HEALTHCHECK --start-period=60s --timeout=10s CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ['GRADIO_SERVER_PORT'])"]
# As Ctrl-C: Gradio then ends by itself.
STOPSIGNAL SIGINT
CMD ["python", "app.py"]
