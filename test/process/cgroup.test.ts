import { describe, expect, it } from 'vitest';
import { type CgroupInfo, describeCgroup, describeCgroups, parseCgroupFile } from '../../src/process/cgroup.js';

const ID = '0123456789abcdef'.repeat(4);
const ID2 = 'fedcba9876543210'.repeat(4);
const UID = '12345678-9abc-def0-1234-56789abcdef0';
const UID_ = UID.replaceAll('-', '_');
const HASH = 'a'.repeat(32);
const in_ = (runtime: string, id = ID): CgroupInfo => ({ container: { id, runtime } });

const ROWS: [string, CgroupInfo][] = [
  // Units.
  ['', {}],
  ['/', {}],
  ['/init.scope', { unit: 'init.scope' }],
  ['/system.slice/ssh.service', { unit: 'ssh.service' }],
  ['/system.slice/system-getty.slice/getty@tty1.service', { unit: 'getty@tty1.service' }],
  ['/system.slice/my\\x2dapp.service', { unit: 'my\\x2dapp.service' }],
  ['/system.slice/__odd.service', { unit: '_odd.service' }],
  ['/system.slice/postgresql@14-main.service/worker', { unit: 'postgresql@14-main.service' }],
  ['/system.slice/docker.socket', { unit: 'docker.socket' }],
  ['/system.slice', {}],
  ['/custom.slice/job.service', { unit: 'job.service' }],
  ['/user.slice/user-1000.slice/session-3.scope', { unit: 'session-3.scope' }],
  ['/user.slice/user-1000.slice', { unit: 'user-1000.slice' }],
  ['/user.slice/user-1000.slice/odd', { unit: 'user-1000.slice' }],
  ['/user.slice/user-1000.slice/user@1000.service/app.slice/app-foo-12.scope', { unit: 'app-foo-12.scope' }],
  ['/user.slice/user-1000.slice/user@1000.service/session.slice/dbus.service', { unit: 'dbus.service' }],
  ['/user.slice/user-1000.slice/user@1000.service/init.scope', { unit: 'init.scope' }],
  ['/user.slice/user-1000.slice/user@1000.service/odd/x.service', { unit: 'user@1000.service' }],
  ['/machine.slice/machine-qemu\\x2d1\\x2dvm.scope/libvirt/emulator', { unit: 'machine-qemu\\x2d1\\x2dvm.scope' }],
  // Whoever a cgroup was delegated to can't pass for another unit.
  ['/system.slice/ci.service/system.slice/ssh.service', { unit: 'ci.service' }],
  ['/system.slice/evil\nname.service', {}],
  ['/no-slice/ssh.service', {}],
  // Docker.
  [`/docker/${ID}`, in_('docker')],
  [`/system.slice/docker-${ID}.scope`, { unit: `docker-${ID}.scope`, ...in_('docker') }],
  [`/system.slice/docker-${ID}.scope/system.slice/nginx.service`, { unit: `docker-${ID}.scope`, ...in_('docker') }],
  [`/docker/${ID}/docker/${ID2}`, in_('docker', ID2)],
  [`/docker/${ID}/init.scope`, in_('docker')],
  [`/system.slice/docker.service/docker/${ID}`, { unit: 'docker.service', ...in_('docker') }],
  [`/ci-jobs/${ID}`, in_('unknown')],
  [`/../../docker-${ID}.scope`, { unit: `docker-${ID}.scope`, ...in_('docker') }],
  [`/../${ID}`, in_('unknown')],
  ['/docker/buildx', {}],
  [`/docker/${ID.slice(1)}`, {}],
  // Kubernetes with containerd.
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/cri-containerd-${ID}.scope`,
    { unit: `cri-containerd-${ID}.scope`, podUid: UID, ...in_('containerd') },
  ],
  [
    `/kubepods.slice/kubepods-pod${UID_}.slice/cri-containerd-${ID}.scope`,
    { unit: `cri-containerd-${ID}.scope`, podUid: UID, ...in_('containerd') },
  ],
  [`/kubepods/besteffort/pod${UID}/${ID}`, { podUid: UID, ...in_('containerd') }],
  [`/kubepods/pod${UID}/${ID}`, { podUid: UID, ...in_('containerd') }],
  [`/kubepods/burstable/pod${HASH}/${ID}`, { podUid: HASH, ...in_('containerd') }],
  [
    `/system.slice/containerd.service/kubepods-besteffort-pod${UID_}.slice:cri-containerd:${ID}`,
    { unit: 'containerd.service', podUid: UID, ...in_('containerd') },
  ],
  [
    `/docker/${ID}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${UID_}.slice/cri-containerd-${ID2}.scope`,
    { podUid: UID, ...in_('containerd', ID2) },
  ],
  [
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${UID_}.slice/docker-${ID}.scope`,
    { unit: `docker-${ID}.scope`, podUid: UID, ...in_('docker') },
  ],
  [`/pod${UID}/x`, {}],
  // CRI-O.
  [
    `/kubepods.slice/kubepods-pod${UID_}.slice/crio-${ID}.scope`,
    { unit: `crio-${ID}.scope`, podUid: UID, ...in_('cri-o') },
  ],
  [
    `/kubepods.slice/kubepods-pod${UID_}.slice/crio-conmon-${ID}.scope`,
    { unit: `crio-conmon-${ID}.scope`, podUid: UID },
  ],
  [`/kubepods/besteffort/pod${UID}/crio-${ID}`, { podUid: UID, ...in_('cri-o') }],
  // Podman.
  [`/machine.slice/libpod-${ID}.scope`, { unit: `libpod-${ID}.scope`, ...in_('podman') }],
  [`/machine.slice/libpod-${ID}.scope/container`, { unit: `libpod-${ID}.scope`, ...in_('podman') }],
  [`/machine.slice/libpod-conmon-${ID}.scope`, { unit: `libpod-conmon-${ID}.scope` }],
  [`/system.slice/web.service/libpod-payload-${ID}`, { unit: 'web.service', ...in_('podman') }],
  [`/libpod_parent/libpod-${ID}`, in_('podman')],
  [
    `/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-${ID}.scope/container`,
    { unit: `libpod-${ID}.scope`, ...in_('podman') },
  ],
  [
    `/machine.slice/machine-libpod_pod_${ID2}.slice/libpod-${ID}.scope`,
    { unit: `libpod-${ID}.scope`, ...in_('podman') },
  ],
  // nerdctl, ECS, LXC.
  [`/system.slice/nerdctl-${ID}.scope`, { unit: `nerdctl-${ID}.scope`, ...in_('containerd') }],
  [`/default/${ID}`, in_('unknown')],
  [`/ecs/${HASH}/${ID}`, in_('docker')],
  [`/ecs/cluster/${HASH}/${ID}`, in_('docker')],
  [`/ecs/${HASH}/${HASH}-1234567890`, in_('containerd', `${HASH}-1234567890`)],
  [`/ecstasks.slice/ecstasks-${HASH}.slice/docker-${ID}.scope`, { unit: `docker-${ID}.scope`, ...in_('docker') }],
  ['/lxc/web-1', in_('lxc', 'web-1')],
  ['/lxc.payload/web-1/system.slice/nginx.service', in_('lxc', 'web-1')],
  ['/lxc.payload.web-1/init.scope', in_('lxc', 'web-1')],
  ['/lxc.monitor.web-1', {}],
];

describe('describeCgroup', () => {
  it.each(ROWS)('%j', (path, expected) => {
    expect(describeCgroup(path)).toEqual(expected);
  });

  it('is linear with thousands of segments', () => {
    // Quadratic work would take minutes, and so run into the test's own limit.
    for (const path of [
      `${'/a'.repeat(2048)}`,
      `${'/..'.repeat(1365)}`,
      `/docker/${'0'.repeat(4000)}`,
      '/_'.repeat(2048),
    ]) {
      for (let i = 0; i < 2_000; i++) describeCgroup(path);
      expect(describeCgroup(path)).toBeDefined();
    }
  });
});

describe('parseCgroupFile', () => {
  it.each([
    ['v2', '0::/system.slice/ssh.service\n', { v2: '/system.slice/ssh.service', v1: '' }],
    [
      'v1',
      `12:pids:/docker/${ID}\n3:cpu,cpuacct:/docker/${ID}\n1:name=systemd:/docker/${ID}\n`,
      { v2: '', v1: `/docker/${ID}` },
    ],
    [
      'hybrid, where only some hierarchies are in use',
      `9:name=systemd:/\n8:pids:/\n4:memory:/jobs/${ID}\n0::/\n`,
      { v2: '/', v1: `/jobs/${ID}` },
    ],
    ['hybrid at the root', '9:name=systemd:/\n8:pids:/\n0::/\n', { v2: '/', v1: '/' }],
    ['a path with colons', '0::/system.slice/a:b:c.service\n', { v2: '/system.slice/a:b:c.service', v1: '' }],
    ['a cgroup namespace', '0::/../../x.service\n', { v2: '/../../x.service', v1: '' }],
    ['nothing of the kind', 'hello\n::\n1:x\n\n0:::\n', { v2: '', v1: '' }],
    ['nothing', '', { v2: '', v1: '' }],
  ])('%s', (_, text, expected) => {
    expect(parseCgroupFile(text)).toEqual(expected);
  });

  it('lets v1 add what v2 does not say, and no more', () => {
    const paths = { v2: '/system.slice/docker.service', v1: `/docker/${ID}` };
    expect(describeCgroups(paths)).toEqual({ unit: 'docker.service', ...in_('docker') });
    expect(describeCgroups({ v2: '/a.slice/x.service', v1: '/b.slice/y.service' })).toEqual({ unit: 'x.service' });
  });
});
