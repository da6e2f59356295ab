# One image for Beam workers (CPU and GPU) and for launching jobs. Build: docker build -t IMAGE .
# CPU only: docker build --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cpu -t IMAGE .
ARG PYTHON=3.11
ARG BEAM=2.77.0

FROM apache/beam_python${PYTHON}_sdk:${BEAM} AS sdk

FROM python:${PYTHON}-slim
ARG TORCH=2.13.0
ARG TORCH_INDEX=https://pypi.org/simple
WORKDIR /opt/mixcurate
COPY .ci/constraints.txt pyproject.toml README.md LICENSE ./
COPY mixcurate mixcurate
COPY pipelines pipelines
COPY configs configs
RUN pip install --no-cache-dir "torch==${TORCH}" --index-url "${TORCH_INDEX}" \
 && pip install --no-cache-dir --constraint constraints.txt ".[gcp,int8,map]" \
 && pip check
COPY --from=sdk /opt/apache/beam /opt/apache/beam
# Workers never download: the embedded encoder and tokenizer are in the image.
ENV HF_HUB_OFFLINE=1
ENTRYPOINT ["/opt/apache/beam/boot"]
