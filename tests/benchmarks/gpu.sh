#!/bin/sh
# Everything that needs a CUDA GPU, in parts of at most ten minutes and two files each:
#
#     sh tests/benchmarks/gpu.sh OUT_FOLDER PYTHON PART...
#
# Parts: tests (marked `gpu`), upsampler, batches, top, quantized, training. A part leaves PART.txt
# and PART.json in the folder. PYTHON needs torch (2.11 or later), transformers, huggingface_hub,
# click, numpy, safetensors, psutil, soundfile, soxr, and for the tests pytest.
# `REHEARSE=1` tries the script itself on a CPU, with the smallest sizes and no compiling.
set -eu
out=${1:?give a folder for the results}
python=${2:?give a Python}
shift 2
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$(dirname "$0")/../.."
device=cuda
more=
if [ -n "${REHEARSE:-}" ]; then device=cpu; more=--tiny; fi

# The output of a command on screen and in a file, and the command's own exit status.
logged() {
    log=$1
    shift
    { "$@" 2>&1 || echo "$?" > "$out/.failed"; } | tee "$log"
    if [ -e "$out/.failed" ]; then rm "$out/.failed"; return 1; fi
}

bench() {
    part=$1
    shift
    logged "$out/$part.txt" "$python" -W ignore -m tests.benchmarks.bench "$@" \
        --device "$device" $more --json "$out/$part.json"
}

decode() {  # PART SIZE "BATCHES" "VARIANTS"
    if [ -n "${REHEARSE:-}" ]; then
        bench "$1" machine decode --sizes 4x256 --batches 1 2 --variants float16:eager int8:eager
    else
        # shellcheck disable=SC2086
        bench "$1" machine decode --sizes "$2" --batches $3 --variants $4
    fi
}

for part in "$@"; do
    case $part in
    tests)
        # Only the files that have such tests: others need packages of their own. What torch warns
        # of on a GPU is no failure here.
        files=$(grep -rlE --include='test_*.py' 'mark\.gpu' tests)
        # shellcheck disable=SC2086
        logged "$out/tests.txt" "$python" -m pytest -q -p no:cacheprovider -m gpu -W default $files
        ;;
    upsampler) decode upsampler released_upsampler 1 "float16:eager float16:compiled float16:graph" ;;
    batches) decode batches released_upsampler "16 41" "float16:eager float16:graph" ;;
    top) decode top released_5b "1 16" "float16:eager float16:graph" ;;
    quantized) decode quantized released_upsampler 1 "float16:graph int8:graph int4:graph" ;;
    training) bench training machine prefill codec train ;;
    *)
        echo "unknown part $part: tests, upsampler, batches, top, quantized or training" >&2
        exit 2
        ;;
    esac
done
