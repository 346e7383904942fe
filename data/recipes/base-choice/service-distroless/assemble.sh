#!/bin/sh
# Unpack every package of a folder into a root filesystem, without dpkg's database: distroless images record each
# package in a file of its own, with the control fields, and its checksums beside it.
set -eu
debs=$1 root=$2
mkdir -p "$root/var/lib/dpkg/status.d" "$root/tmp" "$root/home/nonroot"
for deb in "$debs"/*.deb; do
    name=$(dpkg-deb -f "$deb" Package)
    dpkg-deb -x "$deb" "$root"
    dpkg-deb -f "$deb" > "$root/var/lib/dpkg/status.d/$name"
    dpkg-deb --ctrl-tarfile "$deb" | tar -xO ./md5sums > "$root/var/lib/dpkg/status.d/$name.md5sums" 2>/dev/null || true
done
# Licences stay; what nobody reads inside a container goes.
find "$root/usr/share/doc" ! -name copyright ! -type d -delete
rm -rf "$root/usr/share/man" "$root/usr/share/locale" "$root/usr/share/lintian" "$root/usr/share/bug"
cat "$root"/usr/share/ca-certificates/mozilla/*.crt > "$root/etc/ssl/certs/ca-certificates.crt"
cat > "$root/etc/passwd" <<EOF
root:x:0:0:root:/root:/sbin/nologin
nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin
EOF
printf 'root:x:0:\nnonroot:x:65532:\n' > "$root/etc/group"
chmod 1777 "$root/tmp"
chown 65532:65532 "$root/home/nonroot"
