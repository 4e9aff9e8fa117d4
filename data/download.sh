#!/usr/bin/env bash
# Fetches a data set from where its authors publish it, checks it against a known checksum and unpacks it.
#
#   data/download.sh cifar10|cifar100|wikitext2|wikitext103|gpt2-bpe [DIR]
#
# DIR is data/downloads unless given; the data lands in a folder of its own there. What is there already is left
# alone. An interrupted download is continued by the next call; the data's folder appears only when it is complete.
#
# Environment, for mirrors and tests:
#   ASHLAR_DOWNLOAD_BASE  fetch BASE/<file name> instead of the published address
#   ASHLAR_DOWNLOAD_SUMS  a file of lines "<SHA-256>  <file name>" to use instead of the checksums below
set -euo pipefail

# Licences. CIFAR: none stated; cite Krizhevsky 2009. WikiText: CC BY-SA 3.0, Merity et al. 2016.
# GPT-2's vocabulary: modified MIT, OpenAI.
#
# Where the checksums come from. CIFAR's home page publishes MD5 sums (c32a1d4ab5d03f1284b67883e8d87530 and
# 03b5dce01913d631647c71ecec9e9cb8); the SHA-256 sums of the same archives are those that TensorFlow Datasets and
# MLDatasets.jl check. WikiText's authors publish none; its SHA-256 sums are those that Apple's mlx-data checks
# (torchtext checks the MD5 sums 542ccefacc6c27f945fb54453812b3cd and 9ddaacaf6af0710eda8c456decff7832 of archives of
# these names). Its first address, on S3, answers 403 since 2024; the one below is the first author's own site.
# GPT-2's are those that OpenAI's tiktoken checks.
files() {  # lines: file name, SHA-256, address
  local cifar=https://www.cs.toronto.edu/~kriz wikitext=https://wikitext.smerity.com
  local gpt2=https://openaipublic.blob.core.windows.net/gpt-2/encodings/main
  case $1 in
    cifar10)
      echo "cifar-10-binary.tar.gz c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd $cifar" ;;
    cifar100)
      echo "cifar-100-binary.tar.gz 58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec $cifar" ;;
    wikitext2)
      echo "wikitext-2-v1.zip 92675f1d63015c1c8b51f1656a52d5bdbc33aafa60cc47a218a66e7ee817488c $wikitext" ;;
    wikitext103)
      echo "wikitext-103-v1.zip 242ba0f20b329cfdf1ccc61e9e9e5b59becf189db7f7a81cd2a0e2fc31539590 $wikitext" ;;
    gpt2-bpe)
      echo "encoder.json 196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783 $gpt2"
      echo "vocab.bpe 1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5 $gpt2" ;;
  esac
}

folder_of() {  # the folder that the archive unpacks to
  case $1 in
    cifar10) echo cifar-10-batches-bin ;;
    cifar100) echo cifar-100-binary ;;
    wikitext2) echo wikitext-2 ;;
    wikitext103) echo wikitext-103 ;;
    gpt2-bpe) echo gpt2-bpe ;;
  esac
}

usage="usage: data/download.sh cifar10|cifar100|wikitext2|wikitext103|gpt2-bpe [DIR]"
fail() { echo "download.sh: $*" >&2; exit 1; }
refuse() { echo "download.sh: $*" >&2; exit 2; }
have() { command -v "$1" >/dev/null 2>&1; }

sha256() {
  if have sha256sum; then sha256sum "$1"; else shasum -a 256 "$1"; fi | cut -d' ' -f1
}
bytes() { wc -c <"$1" | tr -d ' '; }

# fetch ADDRESS FILE: continues FILE where the server can (with curl), otherwise begins anew.
fetch() {
  local address=$1 file=$2 allowed=https show=--silent status=0
  [ -z "${ASHLAR_DOWNLOAD_BASE:-}" ] || allowed=http,https
  if have curl; then
    [ ! -t 2 ] || show=--progress-bar
    local curl=(curl --fail --location --show-error "$show" --retry 3 --connect-timeout 30
                --proto "=$allowed" --proto-redir "=$allowed" --output "$file" "$address")
    if [ -s "$file" ]; then
      "${curl[@]}" --continue-at - 2>/dev/null || status=$?
      case $status in
        22 | 33 | 36) rm -f "$file" ;;  # the server does not continue, or has nothing more: begin anew
      esac
    fi
    [ -s "$file" ] || { status=0; "${curl[@]}" || status=$?; }
  elif have wget; then
    wget --quiet --tries=3 --timeout=30 --output-document="$file" "$address" || status=$?
  else
    refuse "needs curl or wget; on Debian or Ubuntu: apt-get install curl"
  fi
  [ $status = 0 ] || fail "cannot fetch $address (the downloader's exit code is $status)"
}

# unpack ARCHIVE FOLDER
unpack() {
  case $1 in
    *.tar.gz.part) tar -xzf "$1" -C "$2" ;;
    *.zip.part)
      if have unzip; then unzip -q "$1" -d "$2"
      elif have python3; then python3 -m zipfile -e "$1" "$2"
      else refuse "needs unzip to unpack $(basename "$1"); on Debian or Ubuntu: apt-get install unzip"
      fi ;;
  esac
}

[ $# -ge 1 ] && [ $# -le 2 ] || refuse "$usage"
name=$1
folder=$(folder_of "$name")
[ -n "$folder" ] || refuse "unknown data set '$name'; $usage"
target=${2:-$(cd "$(dirname "$0")" && pwd)/downloads}
mkdir -p "$target" 2>/dev/null || refuse "cannot make the folder $target"
[ -w "$target" ] || refuse "cannot write to the folder $target"
# One download into a folder at a time; what killed ones have left goes.
if have flock; then
  exec 9<"$target"
  flock --nonblock 9 || { echo "waiting for another download into $target"; flock 9; }
  rm -rf "$target/.$folder".[0-9]*
fi
if [ -d "$target/$folder" ]; then
  echo "$name is already in $target/$folder"
  exit 0
fi

staging=$target/.$folder.$$
trap 'rm -rf "$staging"' EXIT
mkdir "$staging"
while read -r file sum address; do
  part=$target/$file.part
  url=${ASHLAR_DOWNLOAD_BASE:-$address}/$file
  if [ -n "${ASHLAR_DOWNLOAD_SUMS:-}" ]; then
    sum=$(awk -v file="$file" '$2 == file { print $1 }' "$ASHLAR_DOWNLOAD_SUMS")
    [ -n "$sum" ] || refuse "$ASHLAR_DOWNLOAD_SUMS has no checksum for $file"
  fi
  if [ ! -s "$part" ] || [ "$(sha256 "$part")" != "$sum" ]; then
    echo "fetching $url"
    fetch "$url" "$part"
  fi
  found=$(sha256 "$part")
  if [ "$found" != "$sum" ]; then
    size=$(bytes "$part")
    rm -f "$part"
    fail "$url has the wrong checksum: $size bytes with SHA-256 $found, expected $sum; nothing was kept"
  fi
  case $file in
    *.tar.gz | *.zip) unpack "$part" "$staging" || fail "cannot unpack $part" ;;
    *) mkdir -p "$staging/$folder" && cp "$part" "$staging/$folder/$file" ;;
  esac
done < <(files "$name")
[ -d "$staging/$folder" ] || fail "the archive of $name has no folder $folder"
mv "$staging/$folder" "$target/$folder"
while read -r file _; do rm -f "$target/$file.part"; done < <(files "$name")
echo "$name is in $target/$folder"
