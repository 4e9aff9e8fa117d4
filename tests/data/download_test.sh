#!/usr/bin/env bash
# Tests data/download.sh against a local HTTP server: bash tests/data/download_test.sh EMPTY_FOLDER
# Exit code 0: passed, 1: failed, 77: skipped, with the reason.
set -uo pipefail
download=$(cd "$(dirname "$0")/../.." && pwd)/data/download.sh
work=$1

for tool in python3 tar gzip sha256sum; do
  command -v $tool >/dev/null || { echo "$tool is missing"; exit 77; }
done
command -v curl >/dev/null || command -v wget >/dev/null || { echo "curl and wget are missing"; exit 77; }

mkdir -p "$work/site/cifar-10-batches-bin" "$work/site/wikitext-2"
cd "$work/site" || exit 1
head -c 300000 /dev/urandom >cifar-10-batches-bin/test_batch.bin
echo "some text" >wikitext-2/wiki.train.tokens
tar -czf cifar-10-binary.tar.gz cifar-10-batches-bin
python3 -m zipfile -c wikitext-2-v1.zip wikitext-2
echo '{"!": 0}' >encoder.json
echo '#version: 0.2' >vocab.bpe
sha256sum ./*.tar.gz ./*.zip encoder.json vocab.bpe | sed 's|\./||' >"$work/sums"

# The server prints its port, so that tests running side by side do not meet.
python3 -u - >"$work/port" 2>/dev/null <<'PYTHON' &
import http.server, time
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):  # below /slow/ late; below /continued/ from where the client wants to go on, and how much that is goes to ../served
        if self.path.startswith("/slow/"):
            time.sleep(0.5)
            self.path = self.path.removeprefix("/slow")
        if not self.path.startswith("/continued/"):
            return super().do_GET()
        with open(self.path.removeprefix("/continued/"), "rb") as file:
            data = file.read()
        begin = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - begin))
        self.end_headers()
        self.wfile.write(data[begin:])
        with open("../served", "w") as file:
            file.write(str(len(data) - begin))
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port)
server.serve_forever()
PYTHON
server=$!
trap 'kill $server 2>/dev/null' EXIT
for _ in $(seq 100); do [ -s "$work/port" ] && break; sleep 0.05; done
[ -s "$work/port" ] || { echo "the local server did not start"; exit 77; }

export ASHLAR_DOWNLOAD_BASE=http://127.0.0.1:$(cat "$work/port")
export ASHLAR_DOWNLOAD_SUMS=$work/sums
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

failures=0
# check NAME EXIT_CODE WORDS ARGUMENTS…: runs download.sh and looks for WORDS in what it says.
check() {
  local name=$1 code=$2 words=$3 said status=0
  shift 3
  said=$(bash "$download" "$@" 2>&1) || status=$?
  if [ $status != "$code" ] || [[ $said != *"$words"* ]]; then
    echo "FAILED $name: exit code $status instead of $code, or no '$words' in: $said"
    failures=$((failures + 1))
  fi
}
expect() {  # expect NAME TEST…
  local name=$1
  shift
  "$@" || { echo "FAILED $name: $*"; failures=$((failures + 1)); }
}
# Nothing half-made is left in a folder: no data and no hidden staging folder.
empty_but_part() { [ -z "$(find "$1" -mindepth 1 ! -name '*.part')" ]; }

check "archive" 0 "cifar10 is in" cifar10 "$work/a"
expect "archive content" cmp -s "$work/a/cifar-10-batches-bin/test_batch.bin" cifar-10-batches-bin/test_batch.bin
expect "nothing else stays" test "$(ls -A "$work/a")" = cifar-10-batches-bin
check "already there" 0 "already in" cifar10 "$work/a"
check "zip" 0 "wikitext2 is in" wikitext2 "$work/a"
expect "zip content" cmp -s "$work/a/wikitext-2/wiki.train.tokens" wikitext-2/wiki.train.tokens
check "two files" 0 "gpt2-bpe is in" gpt2-bpe "$work/a"
expect "two files content" cmp -s "$work/a/gpt2-bpe/vocab.bpe" vocab.bpe

# Two at once, after one that was killed.
if command -v flock >/dev/null; then
  mkdir -p "$work/i/.cifar-10-batches-bin.123/cifar-10-batches-bin"
  ASHLAR_DOWNLOAD_BASE=$ASHLAR_DOWNLOAD_BASE/slow check "the first of two" 0 "cifar10 is in" cifar10 "$work/i" &
  sleep 0.2
  check "the second of two" 0 "waiting for another download into $work/i"$'\n'"cifar10 is already in" cifar10 "$work/i"
  wait $!
  expect "nothing else stays of two" test "$(ls -A "$work/i")" = cifar-10-batches-bin
fi

# An interrupted download: the server does not continue, so it begins anew; what is complete is not fetched again.
mkdir -p "$work/b" "$work/c"
head -c 1000 cifar-10-binary.tar.gz >"$work/b/cifar-10-binary.tar.gz.part"
check "interrupted" 0 "cifar10 is in" cifar10 "$work/b"
if command -v curl >/dev/null; then
  mkdir "$work/h"
  head -c 1000 cifar-10-binary.tar.gz >"$work/h/cifar-10-binary.tar.gz.part"
  ASHLAR_DOWNLOAD_BASE=$ASHLAR_DOWNLOAD_BASE/continued check "continued" 0 "cifar10 is in" cifar10 "$work/h"
  expect "only the rest is fetched" test "$(cat "$work/served")" = $(($(wc -c <cifar-10-binary.tar.gz) - 1000))
fi
cp cifar-10-binary.tar.gz "$work/c/cifar-10-binary.tar.gz.part"
ASHLAR_DOWNLOAD_BASE=http://127.0.0.1:1 check "complete part" 0 "cifar10 is in" cifar10 "$work/c"

check "no checksum" 2 "has no checksum for cifar-100-binary.tar.gz" cifar100 "$work/d"
echo "$(printf '0%.0s' $(seq 64))  cifar-100-binary.tar.gz" >>"$work/sums"
check "missing file" 1 "cannot fetch $ASHLAR_DOWNLOAD_BASE/cifar-100-binary.tar.gz" cifar100 "$work/d"
expect "missing file leaves nothing" empty_but_part "$work/d"

head -c 100000 cifar-10-binary.tar.gz >cut && mv cut cifar-10-binary.tar.gz
check "truncated file" 1 "wrong checksum: 100000 bytes" cifar10 "$work/e"
expect "truncated file leaves nothing" test -z "$(ls -A "$work/e")"
echo tampered >>vocab.bpe
check "wrong checksum" 1 "vocab.bpe has the wrong checksum" gpt2-bpe "$work/f"
expect "wrong checksum leaves no data" empty_but_part "$work/f"

kill $server
wait $server 2>/dev/null
check "no server" 1 "cannot fetch" cifar10 "$work/g"

check "no name" 2 "usage"
check "unknown name" 2 "unknown data set 'mnist'" mnist
touch "$work/file"
check "folder cannot be made" 2 "cannot make the folder" cifar10 "$work/file/below"
[ $failures = 0 ] && echo "all passed"
exit $((failures > 0))
