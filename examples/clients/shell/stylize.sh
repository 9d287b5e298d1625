#!/bin/sh
# stylize.sh PHOTO STYLE_PICTURE OUT_FOLDER
# Environment: STYLEWIRE_URL, STYLEWIRE_CA (certificates to trust), STYLEWIRE_TOKEN. Needs curl and a server with
# `--http-port`.
set -eu
photo=$1 painting=$2 out=$3
url=${STYLEWIRE_URL:-http://127.0.0.1:8080}/v1

call() {
    curl --silent --show-error ${STYLEWIRE_CA:+--cacert "$STYLEWIRE_CA"} \
        ${STYLEWIRE_TOKEN:+--header "Authorization: Bearer $STYLEWIRE_TOKEN"} "$@"
}

# A style kept under a name, then used by it; and a blend with the picture itself, in equal parts.
call --fail "$url/styles" -F name=shell-example -F overwrite=true -F "style=@$painting" > "$out/style.json"
call --fail "$url/stylize" -F "content=@$photo" -F style=shell-example -F size=384 -o "$out/named.jpg"
call --fail "$url/stylize" -F "content=@$photo" -F style=shell-example -F "style=@$photo" \
    -F weight=0.5 -F weight=0.5 -o "$out/blend.jpg"

# Twenty frames over one connection.
frames=0
set --
while [ $frames -lt 20 ]; do
    set -- "$@" --next --silent --fail ${STYLEWIRE_CA:+--cacert "$STYLEWIRE_CA"} \
        ${STYLEWIRE_TOKEN:+--header "Authorization: Bearer $STYLEWIRE_TOKEN"} \
        -F "content=@$photo" -F style=shell-example -o "$out/frame-$frames.jpg" "$url/stylize"
    frames=$((frames + 1))
done
shift
curl "$@"
echo "frames $(ls "$out"/frame-*.jpg | wc -l)"

# A deadline that cannot be met, a call that is canceled after 5 ms, and an error with its field. 429 and 503 come with
# a Retry-After header.
echo "deadline $(call --header 'Prefer: wait=0.001' "$url/stylize" -F "content=@$photo" -F "style=@$painting")"
call --max-time 0.005 "$url/stylize" -F "content=@$photo" -F "style=@$painting" 2>/dev/null || echo "cancel canceled"
call --include "$url/stylize" -F "content=@$photo" -F style=shell-example -F strength=2
