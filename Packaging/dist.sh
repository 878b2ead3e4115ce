#!/bin/bash
# dist.sh EXECUTABLE FOLDER: makes FOLDER/aisbf-VERSION-linux-ARCH.tar.gz and, where dpkg-deb is there, a Debian package.
# Nothing of either depends on when or where it was made. DIST_QUICK=1 packs without pressing.
set -euo pipefail
executable=$1 out=$2
if [[ -n ${DIST_QUICK:-} ]]; then level=1 press=none; else level=9 press=xz; fi
here=$(cd "$(dirname "$0")" && pwd)
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git -C "$here" log -1 --format=%ct 2>/dev/null || date +%s)}
umask 022

# Not below a home: the unit would say that it must be readable.
stage=$(mktemp -d /tmp/aisbf-dist.XXXXXX)
trap 'rm -rf "$stage"' EXIT
root=$stage/root
install -D -m 755 "$executable" "$root/usr/bin/aisbf"
strip --strip-all "$root/usr/bin/aisbf"
aisbf=$root/usr/bin/aisbf
version=$("$aisbf" --version)
machine=$(uname -m)

install -D -m 644 "$here/node.yaml" "$root/etc/aisbf/node.yaml"
mkdir -p "$root/usr/lib/systemd/system"
"$aisbf" node unit --config "$root/etc/aisbf/node.yaml" \
  | sed -e "s|$root||g" -e 's/^Description=.*/Description=AISBF Mesh node/' \
    -e 's/^CapabilityBoundingSet=$/# For a port below 1024, such as 443.\nAmbientCapabilities=CAP_NET_BIND_SERVICE\nCapabilityBoundingSet=CAP_NET_BIND_SERVICE/' \
  > "$root/usr/lib/systemd/system/aisbf.service"

"$aisbf" --experimental-dump-help | python3 "$here/manual.py" "$root/usr/share/man/man1" "$version"
gzip -9 -n "$root"/usr/share/man/man1/*.1
completion() { mkdir -p "$root/$2"; "$aisbf" --generate-completion-script "$1" > "$root/$2/$3"; }
completion bash usr/share/bash-completion/completions aisbf
completion zsh usr/share/zsh/vendor-completions _aisbf
completion fish usr/share/fish/vendor_completions.d aisbf.fish

doc=$root/usr/share/doc/aisbf
install -D -m 644 "$here/../LICENSE" "$doc/copyright"
install -m 644 "$here/../README.md" "$here"/../Docs/Reference/{configuration,cli,worker-config}.md "$doc/"
mkdir -p "$root/usr/share/aisbf/topologies"
install -m 644 "$here"/../Topology/*.yaml "$root/usr/share/aisbf/topologies/"

mkdir -p "$out"
name=aisbf-$version-linux-$machine
pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" "$@"; }
# Below one prefix that is unpacked anywhere: bin, share, and what a service needs to be copied by hand.
mkdir -p "$stage/$name"
cp -a "$root/usr/bin" "$root/usr/share" "$stage/$name/"
mkdir -p "$stage/$name/etc"
cp -a "$root/etc/aisbf" "$root/usr/lib/systemd/system/aisbf.service" "$stage/$name/etc/"
pack -C "$stage" -cf - "$name" | gzip "-$level" -n > "$out/$name.tar.gz"
echo "$out/$name.tar.gz"

if command -v dpkg-deb >/dev/null; then
  architecture=$(dpkg --print-architecture)
  mkdir -p "$root/DEBIAN"
  # The oldest C library that has all that is asked of it.
  glibc=$({
    objdump -T "$aisbf" | grep -oE 'GLIBC_[0-9.]+'
    # Packed relocations have a version of their own.
    if objdump -p "$aisbf" | grep -q GLIBC_ABI_DT_RELR; then echo GLIBC_2.36; fi
  } | sort -uV | tail -1)
  sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@GLIBC@/${glibc#GLIBC_}/" \
    -e "s/@SIZE@/$(du -sk "$root" | cut -f1)/" "$here/debian/control" > "$root/DEBIAN/control"
  echo /etc/aisbf/node.yaml > "$root/DEBIAN/conffiles"
  for script in postinst prerm postrm; do install -m 755 "$here/debian/$script" "$root/DEBIAN/$script"; done
  find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group "-Z$press" --build "$root" "$out/aisbf_${version}_$architecture.deb" >/dev/null
  echo "$out/aisbf_${version}_$architecture.deb"
else
  echo "dpkg-deb is missing: no Debian package was made" >&2
fi
