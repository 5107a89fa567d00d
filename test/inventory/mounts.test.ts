import { describe, expect, it } from 'vitest';
import { type Mount, parseMountInfo, planMounts } from '../../src/inventory/mounts.js';
import { mountsBelow } from '../../src/inventory/roots.js';

const mount = (device: string, root: string, path: string, type = 'ext4', options = 'rw'): Mount => ({
  device,
  root,
  path,
  type,
  options,
});
const plan = (...views: Mount[][]) =>
  planMounts(views.map((mounts) => ({ mounts }))).map((decisions) => Object.fromEntries(decisions));

describe('the table of mounts', () => {
  it('is read with its escapes', () => {
    const text =
      '22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw,discard\n' +
      '96 71 0:43 /a\\040b /tmp/x\\134y\\012 rw - overlay overlay rw,lowerdir=/l\n' +
      '97 71 0:4 net:[4026532245] /run/netns/a rw - nsfs nsfs rw\n' +
      '98 71 0:44 / (unreachable)/x rw - tmpfs tmpfs rw\n' +
      'not a line\n';
    expect(parseMountInfo(text)).toEqual([
      mount('254:0', '/', '/', 'ext4', 'rw,discard'),
      mount('0:43', '/a b', '/tmp/x\\y\n', 'overlay', 'rw,lowerdir=/l'),
      mount('0:4', 'net:[4026532245]', '/run/netns/a', 'nsfs'),
    ]);
  });

  it('of a directory begins with what it lies in', () => {
    const mounts = [
      mount('8:1', '/', '/'),
      mount('8:2', '/', '/mnt'),
      mount('8:3', '/', '/mnt/image/home'),
      mount('8:4', '/', '/mnt/images'),
    ];
    expect(mountsBelow(mounts, '/mnt/image')).toEqual([mount('8:2', '/image', '/'), mount('8:3', '/', '/home')]);
    expect(mountsBelow(mounts, '/mnt')[0]).toEqual(mount('8:2', '/', '/'));
  });
});

describe('what is looked through', () => {
  it('is no pseudo and no network file system, whatever is mounted where', () => {
    expect(
      plan([
        mount('8:1', '/', '/'),
        mount('0:1', '/', '/proc', 'proc'),
        mount('0:4', 'net:[4026532245]', '/run/netns/a', 'nsfs'),
        mount('0:6', 'no path', '/strange', 'tmpfs'),
        mount('0:2', '/', '/net', 'nfs4'),
        mount('0:3', '/', '/home/a', 'fuse.sshfs'),
        mount('0:4', '/', '/run/user/1/overlay', 'fuse.fuse-overlayfs'),
        mount('0:5', '/', '/tmp', 'tmpfs'),
        mount('8:2', '/', '/data', 'xfs'),
      ]),
    ).toEqual([
      {
        '/': 'walk',
        '/proc': 'pseudo',
        '/run/netns/a': 'pseudo',
        '/strange': 'walk',
        '/net': 'network',
        '/home/a': 'network',
        '/run/user/1/overlay': 'walk',
        '/tmp': 'walk',
        '/data': 'walk',
      },
    ]);
  });

  it('is looked through once, unless it is hidden where it lies', () => {
    expect(
      plan([
        mount('8:1', '/', '/'),
        mount('8:1', '/srv/www', '/bind'),
        mount('8:1', '/', '/again'),
        mount('8:2', '/', '/srv'),
        mount('8:2', '/www', '/also'),
        mount('8:1', '/home', '/visible'),
      ]),
    ).toEqual([
      { '/': 'walk', '/bind': 'walk', '/again': 'twice', '/srv': 'walk', '/also': 'twice', '/visible': 'twice' },
    ]);
  });

  it('of services with a view of their own is what the system does not show', () => {
    const system = [mount('8:1', '/', '/'), mount('0:9', '/', '/run', 'tmpfs')];
    const [, service] = plan(system, [
      mount('8:1', '/', '/'),
      mount('0:9', '/', '/run', 'tmpfs'),
      mount('8:1', '/tmp/systemd-private-x/tmp', '/tmp'),
      mount('0:77', '/', '/dev/shm', 'tmpfs'),
    ]);
    expect(service).toEqual({ '/': 'twice', '/run': 'twice', '/tmp': 'twice', '/dev/shm': 'walk' });
  });

  it('of containers is their merged tree, and not the layers or the runtime’s mount of it in the system’s', () => {
    const options =
      'rw,lowerdir=/var/lib/docker/overlay2/l/AAA:/var/lib/docker/overlay2/b/diff,upperdir=/var/lib/docker/overlay2/c/diff,workdir=/w';
    const merged = mount('0:50', '/', '/var/lib/docker/overlay2/c/merged', 'overlay', options);
    const container = [
      mount('0:50', '/', '/', 'overlay', options),
      mount('0:51', '/', '/proc', 'proc'),
      mount('8:1', '/var/lib/docker/volumes/v/_data', '/data'),
      mount('8:1', '/var/lib/docker/containers/c/hosts', '/etc/hosts'),
    ];
    const plans = planMounts([{ mounts: [mount('8:1', '/', '/'), merged] }, { mounts: container }], (layer) =>
      layer.replace('/l/AAA', '/a/diff'),
    );
    expect(Object.fromEntries(plans[0]!)).toEqual({
      '/': 'walk',
      '/var/lib/docker/overlay2/c/merged': 'twice',
      '/var/lib/docker/overlay2/a/diff': 'twice',
      '/var/lib/docker/overlay2/b/diff': 'twice',
      '/var/lib/docker/overlay2/c/diff': 'twice',
    });
    expect(Object.fromEntries(plans[1]!)).toEqual({
      '/': 'walk',
      '/proc': 'pseudo',
      '/data': 'twice',
      '/etc/hosts': 'twice',
    });
  });

  it('is decided in linear time, whatever a user mounts in a namespace of his own', () => {
    const bound = Array.from({ length: 100_000 }, (_, i) => mount('0:99', `/d${i}`, `/m/${i}`, 'tmpfs'));
    const same = Array.from({ length: 100_000 }, (_, i) => mount('0:98', '/', `/s/${i}`, 'tmpfs'));
    const [, user] = plan([mount('8:1', '/', '/')], [mount('8:1', '/', '/'), ...bound, ...same]);
    expect(Object.values(user!).filter((decision) => decision === 'walk')).toHaveLength(100_001);
  });

  it('of a tracer that runs in a container itself begins with that container’s root', () => {
    const root = mount('0:50', '/', '/', 'overlay', 'lowerdir=/usr:/lib');
    expect(plan([root, mount('0:60', '/', '/data')])).toEqual([{ '/': 'walk', '/data': 'walk' }]);
  });
});
