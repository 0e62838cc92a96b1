#!/usr/bin/env bash
# Writes a client of docs/openapi.json into a folder: tests/clients/generate.sh python|typescript FOLDER
set -euo pipefail
here=$(dirname "$(realpath "$0")")
page=$here/../../docs/openapi.json
folder=$2

case $1 in
python)
  # The generator prints each operation at length of which it does not take every form.
  openapi-python-client generate --path "$page" --config "$here/python.yml" --meta none --output-path "$folder" \
    --overwrite 2>&1 | sed '/^[ {}]/d; /^$/d; /^If you believe/d'
  echo "The generator knows no safetensors bodies; the client sends JSON."
  ;;
typescript)
  mkdir -p "$folder"
  cp "$here/package.json" "$here/tsconfig.json" "$folder"
  cd "$folder"
  [ -e node_modules ] || npm install --silent --no-fund --no-audit
  # Fields with a default may be left out of a request.
  node_modules/.bin/openapi-typescript "$page" --output schema.ts --default-non-nullable=false
  ;;
*)
  echo "python or typescript?" >&2
  exit 2
  ;;
esac
