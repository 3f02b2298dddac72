# Sourced by the scripts beside it: `setup EXTRAS` makes .venv hold this checkout and what it needs, once.
# Needs a Python of at least 3.11 with pip. PYTHON=/path/to/python chooses another one than python3.

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)"
venv="$root/.venv"
bin="$venv/bin"
export PIP_DISABLE_PIP_VERSION_CHECK=1
unset PYTHONDONTWRITEBYTECODE # whatever the scripts start would compile its libraries anew each time

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$(basename "$0"): $*"
  exit 1
}

# The first Python that is new enough.
find_python() {
  local candidate
  for candidate in "${PYTHON:-python3}" python3.14 python3.13 python3.12 python3.11 python; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Python 3.11 or newer is needed; PYTHON=/path/to/python names one"
}

# What the environment is made from: when this changes, it is made again.
stamp() {
  printf '%s\n' "$root"
  cat "$root/pyproject.toml"
}

# A stamp file holds what was there when the installation it names was finished. `dev` holds all that `base` has.
is_ready() {
  local name
  for name in "$@"; do
    if [[ -f "$venv/stamp-$name" ]] && "$bin/python" -c '' 2>/dev/null && stamp | cmp -s - "$venv/stamp-$name"; then
      return 0
    fi
  done
  return 1
}

make_venv() {
  local python="$1"
  rm -rf "$venv"
  if ! "$python" -m venv "$venv" >/dev/null 2>&1; then # some systems ship venv without its own pip
    rm -rf "$venv"
    "$python" -m venv --without-pip "$venv" || die "$python -m venv failed"
  fi
}

# pip_install PYTHON ARGS: with the environment's own pip, or that of the Python it was made from. Byte code is made
# when a module is first imported: most are never.
pip_install() {
  local python="$1"
  shift
  if "$bin/python" -m pip --version >/dev/null 2>&1; then
    "$bin/python" -m pip install --quiet --quiet --no-compile "$@"
  else
    "$python" -m pip --python "$bin/python" install --quiet --quiet --no-compile "$@"
  fi
}

# setup base | setup dev
setup() {
  local kind="$1" target="$root" python begun=$SECONDS
  if [[ "$kind" == dev ]]; then
    is_ready dev && return
    target="$root[dev]"
  else
    is_ready base dev && return
  fi
  python="$(find_python)"
  say "Setting up $venv with $("$python" -V) (once; about a minute) ..."
  if [[ -e "$venv/unfinished" ]] || ! "$bin/python" -c '' 2>/dev/null; then
    make_venv "$python" # what a broken installation left behind can confuse pip
  fi
  rm -f "$venv"/stamp-*
  touch "$venv/unfinished"
  pip_install "$python" --editable "$target" || die "pip could not install what fleetsim needs; see above"
  stamp >"$venv/stamp-$kind"
  rm "$venv/unfinished"
  say "... done in $((SECONDS - begun)) s"
}
