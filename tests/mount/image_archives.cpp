#include "image_archives.h"

namespace plyfs::tests {
namespace {

constexpr const char* kPrelude = R"(
import gzip, hashlib, io, json, os, tarfile
def entry(name, kind, data=b'', link='', mode=None, **more):
    i = tarfile.TarInfo(name)
    i.type, i.linkname, i.mtime = kind, link, 1000000000
    i.mode = mode if mode is not None else (0o755 if kind == tarfile.DIRTYPE else 0o644)
    i.size = len(data) if kind == tarfile.REGTYPE else 0
    for key, value in more.items():
        setattr(i, key, value)
    return i, data
def f(name, data='x', **more): return entry(name, tarfile.REGTYPE, data.encode() if isinstance(data, str) else data, **more)
def d(name, **more): return entry(name, tarfile.DIRTYPE, **more)
def l(name, target): return entry(name, tarfile.SYMTYPE, link=target)
def h(name, target): return entry(name, tarfile.LNKTYPE, link=target)
def n(name, major, minor): return entry(name, tarfile.CHRTYPE, devmajor=major, devminor=minor)
def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode='w', format=tarfile.PAX_FORMAT) as t:
        for info, data in entries:
            t.addfile(info, io.BytesIO(data) if info.size else None)
    return out.getvalue()
def gz(data): return gzip.compress(data, 1, mtime=0)
def sha(data): return 'sha256:' + hashlib.sha256(data).hexdigest()
def unpacked(data): return gzip.decompress(data) if data[:2] == b'\x1f\x8b' else data
def config_of(layers, config=None, diff_ids=None):
    return json.dumps({'architecture': {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(os.uname().machine, os.uname().machine), 'os': 'linux', 'config': config or {}, 'unheard_of': [{}],
        'rootfs': {'type': 'layers', 'diff_ids': diff_ids or [sha(unpacked(one)) for one in layers]}}).encode()
def describe(blobs, data, kind, **more):
    blobs[sha(data)] = data
    return dict({'mediaType': kind, 'digest': sha(data), 'size': len(data)}, **more)
OCI = 'application/vnd.oci.image.'
def image(blobs, layers, layer_type=OCI + 'layer.v1.tar', manifest_more=None, **more):
    manifest = {'schemaVersion': 2, 'mediaType': OCI + 'manifest.v1+json',
        'config': describe(blobs, config_of(layers, **more), OCI + 'config.v1+json'),
        'layers': [describe(blobs, one, layer_type) for one in layers]}
    manifest.update(manifest_more or {})
    return json.dumps(manifest).encode()
def write(path, files):
    if path.endswith('/'):
        for name, data in files.items():
            os.makedirs(os.path.dirname(path + name) or '.', exist_ok=True)
            open(path + name, 'wb').write(data)
        return
    with tarfile.open(path, 'w') as t:
        for name, data in files.items():
            i = tarfile.TarInfo(name)
            i.size = len(data)
            t.addfile(i, io.BytesIO(data))
def layout_of(path, blobs, manifests, change=None):
    files = {'blobs/sha256/' + name[7:]: data for name, data in blobs.items()}
    files['index.json'] = json.dumps({'schemaVersion': 2, 'manifests': manifests}).encode()
    files['oci-layout'] = b'{"imageLayoutVersion": "1.0.0"}'
    if change: change(files)
    write(path, files)
def named(blobs, manifest, name, **more):
    return describe(blobs, manifest, OCI + 'manifest.v1+json',
        annotations={'org.opencontainers.image.ref.name': name}, **more)
def layout(path, layers, name='made', change=None, **more):
    blobs = {}
    layout_of(path, blobs, [named(blobs, image(blobs, layers, **more), name)], change)
def docker(path, layers, name='made:old'):
    config = config_of(layers)
    files = {'conf.json': config, 'manifest.json': json.dumps([{'Config': 'conf.json', 'RepoTags': [name],
        'Layers': ['%d/layer.tar' % i for i in range(len(layers))]}]).encode()}
    for i, one in enumerate(layers):
        files['%d/layer.tar' % i] = one
    write(path, files)
)";

}  // namespace

void make_archives(const Host& host, const std::string& script) {
  const Ran ran = run({"python3", "-c", kPrelude + script}, host("."));
  REQUIRE(said(ran) == "0 ");
}

}  // namespace plyfs::tests
