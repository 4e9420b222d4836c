# The default start in a container: CPU, no torch. Built and run as README says:
#   docker build -t vivavoce . && docker run -p 7860:7860 -v vivavoce:/home/user/data vivavoce
# WebRTC from outside the machine needs --network host or a TURN server; otherwise viewers get the WebSocket.
FROM python:3.11-slim

# MediaPipe, which finds faces, links to these two.
RUN apt-get update && apt-get install --yes --no-install-recommends libegl1 libgles2 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 user
WORKDIR /home/user/vivavoce
COPY launch.py launch_packages.py pyproject.toml requirements-lock.txt ./
RUN PIP_NO_CACHE_DIR=1 python launch.py setup
COPY . .
RUN install -d -o user /home/user/data
USER user
ENV VIVAVOCE_HOST=0.0.0.0 VIVAVOCE_OPEN_BROWSER=false VIVAVOCE_DATA=/home/user/data
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD python -c "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz')"
CMD ["python", "launch.py"]
