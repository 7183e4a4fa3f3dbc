#!/usr/bin/env bash
# Build a Python base image from this machine's own CPython and PyPI, for hosts that reach no image registry.
#
#     docker/local-base-image.sh TAG REQUIREMENTS
#
# The image is busybox, the interpreter, the shared libraries that it needs and the packages of REQUIREMENTS.
# Needs: a Docker engine, a static busybox (Debian: busybox-static), ldd, and uv or pip. Where a registry can be reached,
# use python:3.11-slim instead; it gets security updates, and this does not.
#
# Environment:
#   PYTHON   the interpreter to copy (default: python3 on the PATH; a virtual environment leads to its base)
#   UV       the uv to install with (default: uv on the PATH, else pip of PYTHON)
#   TMPDIR   where the root file system is put together: about 1 GB, removed afterwards
#   LABELS   labels for the image, "name=value" separated by spaces
set -euo pipefail

die() { echo "local-base-image: $*" >&2; exit 1; }

[[ $# -eq 2 ]] || die "usage: $0 TAG REQUIREMENTS"
tag=$1 requirements=$2
[[ -f $requirements ]] || die "there is no file $requirements"

busybox=$(command -v busybox) || die "busybox is missing; install a static one (Debian, Ubuntu: apt-get install busybox-static)"
ldd "$busybox" >/dev/null 2>&1 && die "$busybox needs shared libraries; install a static one (Debian, Ubuntu: busybox-static)"
docker version --format '{{.Server.Version}}' >/dev/null 2>&1 || die "no Docker engine answers at ${DOCKER_HOST:-the default socket}"

python=${PYTHON:-python3}
uv=${UV:-$(command -v uv || true)}
prefix=$("$python" -c 'import sys; print(sys.base_prefix)') || die "the interpreter $python does not run"
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
interpreter=$prefix/bin/python$version
[[ -x $interpreter ]] || die "there is no interpreter $interpreter"

root=$(mktemp -d -t base-image.XXXXXXXX)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
library=$root/usr/local/lib/python$version
triplet=$(uname -m)-linux-gnu

# The folders of a merged-/usr system.
install -d "$root"/usr/{bin,lib,lib64,local/bin,local/lib} "$root/usr/lib/$triplet" \
  "$root"/{app,dev,etc/ssl/certs,home/app,opt,proc,root,run,sys,var}
install -d -m 1777 "$root/tmp" "$root/var/tmp"
for name in bin lib lib64; do ln -s "usr/$name" "$root/$name"; done

# The interpreter and its standard library, without tests, graphics and headers.
cp -aL "$interpreter" "$root/usr/local/bin/python$version"
ln -s "python$version" "$root/usr/local/bin/python3"
ln -s python3 "$root/usr/local/bin/python"
cp -a "$prefix"/lib/libpython"$version"*.so* "$root/usr/local/lib/" 2>/dev/null || true # A static build has none.
tar -C "$prefix/lib" -c --exclude=__pycache__ --exclude="python$version/site-packages" --exclude="python$version/test" \
  --exclude='*/dist-packages' --exclude='*/config-*' --exclude='*/idlelib' --exclude='*/lib2to3' --exclude='*/turtledemo' \
  --exclude='*/tkinter' --exclude='*/_tkinter.*' --exclude='*/nis.*' "python$version" | tar -C "$root/usr/local/lib" -x
install -d "$library/site-packages"
ln -s site-packages "$library/dist-packages" # Where Debian's own interpreter looks.

# The packages. pip goes in too, so that a Dockerfile can check its requirements and add others.
if [[ -n $uv ]]; then
  "$uv" pip install --quiet --python "$interpreter" --target "$library/site-packages" --link-mode copy -r "$requirements" pip
else
  "$interpreter" -m pip install --quiet --no-compile --disable-pip-version-check --root-user-action=ignore \
    --target "$library/site-packages" -r "$requirements" pip
fi
find "$library/site-packages" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +

# Bytecode now: a job's user cannot write it later, and imports would take three times as long. Some packages hold
# templates that are no Python, and compileall says so with its exit status.
env -u PYTHONDONTWRITEBYTECODE "$interpreter" -m compileall -q -j 0 -s "$root" "$library" >/dev/null 2>&1 || true

# The shared libraries that the interpreter and the packages are linked to, those that the C library opens by name, and
# the loader, which is looked for at the path that the interpreter has written in it.
needed() {
  find "$library" "$root/usr/local/bin/python$version" -type f \( -name '*.so*' -o -name "python$version" \) -print0 |
    LD_LIBRARY_PATH=$root/usr/local/lib xargs -0 ldd 2>/dev/null | awk '/=> \//{print $3}'
  libc_folder=$(ldd "$interpreter" | awk '$1 ~ /^libc\.so/ {print $3}' | xargs dirname)
  for name in libstdc++.so.6 libgcc_s.so.1 libnss_dns.so.2 libnss_files.so.2; do
    for folder in "$libc_folder" "/usr/lib/$triplet"; do
      [[ -e $folder/$name ]] && { echo "$folder/$name"; break; }
    done
  done
}
needed | grep -v "^$root" | sort -u | while read -r file; do
  install -m 755 "$(readlink -f "$file")" "$root/usr/lib/$triplet/$(basename "$file")"
done
loader=$(ldd "$interpreter" | awk '$1 ~ /^\/.*\/ld-linux/ {print $1}')
[[ -n $loader ]] || die "cannot tell the loader of $interpreter; is it linked to the GNU C library?"
cp -L "$loader" "$root/$loader"
printf '/usr/local/lib\n/usr/lib/%s\n' "$triplet" >"$root/etc/ld.so.conf"
PATH=$PATH:/usr/sbin:/sbin ldconfig -r "$root"

# A shell and its tools, certificates, users and name resolution.
cp -L "$busybox" "$root/usr/bin/busybox"
for name in $("$busybox" --list); do [[ -e $root/usr/bin/$name ]] || ln -s busybox "$root/usr/bin/$name"; done
cp -L "${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" "$root/etc/ssl/certs/ca-certificates.crt"
cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
app:x:1000:1000:app:/home/app:/bin/sh
nobody:x:65534:65534:nobody:/:/bin/false
END
printf 'root:x:0:\napp:x:1000:\nnogroup:x:65534:\n' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
chmod -R a+rX "$root/usr"

# Owners are set here, so that the script runs without being root.
changes=(--change 'ENV PATH=/usr/local/bin:/usr/bin LANG=C.UTF-8 SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt' --change 'CMD ["python3"]')
for label in ${LABELS:-}; do changes+=(--change "LABEL $label"); done
tar -C "$root" --numeric-owner --owner=0 --group=0 -c . | docker import "${changes[@]}" - "$tag" >/dev/null
echo "Built $tag: Python $version with $(wc -w <<<"$(find "$library/site-packages" -maxdepth 1 -name '*.dist-info')") packages"
