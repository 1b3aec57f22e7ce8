#!/usr/bin/env bash
# One would guess: a folder without __init__.py is a namespace package, which gives way to a regular package of its name
# anywhere later on the path, so an empty folder `agents/` beside a script changes nothing for an installed package.
# What happens: after `pip install -e` of a flat layout setuptools maps packages by a finder at the end of sys.meta_path.
# The path is searched before it, so that the empty folder is the package, and everything in the installed one is gone.
# Installed without -e, the regular package wins as one would guess.
# Date: 2026-11-30, setuptools 84.2.1 (77.0.3 does the same), Python 3.11. Why it matters here: three of our import names, `agents`,
# `plugins` and `registry`, are names that people give to folders; `import taskgen` says so in one sentence.
set -euo pipefail
here=$(mktemp -d)  # a temporary folder
trap 'rm -rf "$here"' EXIT
python3 -m venv "$here/venv"
python="$here/venv/bin/python"
"$here/venv/bin/pip" install -q setuptools==84.2.1
mkdir -p "$here/project/harbour" "$here/elsewhere/harbour"
echo 'ships = 3' > "$here/project/harbour/__init__.py"
printf '[build-system]\nrequires = ["setuptools"]\nbuild-backend = "setuptools.build_meta"\n[project]\nname = "harbour"\nversion = "1"\n[tool.setuptools]\npackages = ["harbour"]\n' > "$here/project/pyproject.toml"
seen() { (cd "$here/elsewhere" && "$python" -c 'import harbour; print(getattr(harbour, "ships", "nothing"))'); }
"$python" -m pip install -q --no-build-isolation "$here/project"
installed=$(seen)
"$python" -m pip install -q --no-build-isolation -e "$here/project"
editable=$(seen)
"$python" --version
"$python" -m pip list 2>/dev/null | grep -i '^setuptools '
echo "beside an empty folder of its name, the package shows: installed $installed, installed with -e $editable"
[ "$installed" = 3 ] && [ "$editable" = nothing ]
