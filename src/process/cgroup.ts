/** What a cgroup path tells of a process: the names are those the path has, control characters included. */
export interface CgroupInfo {
  /** Unit of the system's manager, or of a user's manager within `user@UID.service`, as systemctl writes it. */
  unit?: string;
  container?: { id: string; runtime: string };
  podUid?: string;
}

/** Paths of one process in the hierarchies there are; empty where it is in none. */
export interface CgroupPaths {
  v2: string;
  v1: string;
}

/**
 * Path segments that are containers. `segment` matches one whole segment and its first group is the id; `parent`, where
 * given, must match the segments before it, joined by `/`. The first row that matches says what a segment is, the last
 * segment that is anything is the container (the innermost). Rows without a runtime are the runtimes' own monitors.
 */
const CONTAINERS: readonly { segment: RegExp; parent?: RegExp; runtime?: string }[] = [
  // Monitors live beside their containers in scopes of a similar name, but run on the host.
  { segment: /^(?:crio|libpod)-conmon-([0-9a-f]{64})(?:\.scope)?$/ },
  { segment: /^lxc\.monitor(?:\.(.+))?$/ },
  // systemd cgroup drivers: moby daemon/oci_linux.go, containerd/cri, cri-o, podman (libpod), nerdctl.
  { segment: /^docker-([0-9a-f]{64})\.scope$/, runtime: 'docker' },
  { segment: /^cri-containerd-([0-9a-f]{64})\.scope$/, runtime: 'containerd' },
  { segment: /^crio-([0-9a-f]{64})(?:\.scope)?$/, runtime: 'cri-o' },
  // `libpod-payload-ID`: podman run --cgroups=split (Quadlet), below the unit's own cgroup.
  { segment: /^libpod-(?:payload-)?([0-9a-f]{64})(?:\.scope)?$/, runtime: 'podman' },
  { segment: /^nerdctl-([0-9a-f]{64})\.scope$/, runtime: 'containerd' },
  // A path in the systemd driver's syntax (`SLICE:PREFIX:ID`) taken literally by a runtime set to the cgroupfs driver.
  { segment: /:cri-containerd:([0-9a-f]{64})$/, runtime: 'containerd' },
  { segment: /:crio:([0-9a-f]{64})$/, runtime: 'cri-o' },
  { segment: /:libpod:([0-9a-f]{64})$/, runtime: 'podman' },
  { segment: /:docker:([0-9a-f]{64})$/, runtime: 'docker' },
  { segment: /:nerdctl:([0-9a-f]{64})$/, runtime: 'containerd' },
  // cgroupfs drivers. kubelet has driven containerd by bare ids since dockershim was taken out (Kubernetes 1.24).
  { parent: /(?:^|\/)docker$/, segment: /^([0-9a-f]{64})$/, runtime: 'docker' },
  { parent: /(?:^|\/)kubepods(?:\/[^/]+)?\/pod[^/]+$/, segment: /^([0-9a-f]{64})$/, runtime: 'containerd' },
  // ECS agent: /ecs/TASK/ID on EC2 (Docker); /ecs/TASK/TASK-NUMBER on Fargate (containerd).
  { parent: /(?:^|\/)ecs(?:\/[^/]+){1,2}$/, segment: /^([0-9a-f]{64})$/, runtime: 'docker' },
  { parent: /(?:^|\/)ecs(?:\/[^/]+){1,2}$/, segment: /^([0-9a-f]{32}-\d{1,20})$/, runtime: 'containerd' },
  // LXC, LXD and Incus name containers.
  { segment: /^lxc\.payload\.(.+)$/, runtime: 'lxc' },
  { parent: /(?:^|\/)lxc(?:\.payload)?$/, segment: /^(.+)$/, runtime: 'lxc' },
  // Any other parent (docker run --cgroup-parent, nerdctl's /default): the id is plain, the runtime isn't.
  { segment: /^([0-9a-f]{64})$/, runtime: 'unknown' },
];

/** kubelet's name of a pod's cgroup; systemd slices write the dashes of the uid as underscores. Static pods have 32 digits. */
const POD =
  /(?:^|-)pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?::[a-z-]+:[0-9a-f]{64})?$/;

/** Kinds of units that hold processes of their own, and systemd's rule for unit names (unit_name_is_valid). */
const UNIT = /^[0-9A-Za-z:_.\\@-]{1,249}\.(?:service|scope|socket|mount|swap)$/;
const SLICE = /^[0-9A-Za-z:_.\\@-]{1,249}\.slice$/;
const USER_MANAGER = /^user@[0-9]+\.service$/;
const USER_SLICE = /^user-[0-9]+\.slice$/;

/** A hostile path can have thousands of segments (PATH_MAX is 4096 bytes); what nests deeper than this isn't looked at. */
const MAX_SEGMENTS = 64;

/** Reads a cgroup path, absolute or (in a cgroup namespace) with leading `/../..`. Never throws; linear in its length. */
export function describeCgroup(path: string): CgroupInfo {
  const segments = path.split('/', MAX_SEGMENTS * 2).filter((segment) => segment !== '' && segment !== '..');
  segments.length = Math.min(segments.length, MAX_SEGMENTS);
  const info: CgroupInfo = {};
  const unit = unitOf(segments);
  if (unit !== undefined) info.unit = unit;
  const container = containerOf(segments);
  if (container !== undefined) info.container = container;
  const podUid = podOf(segments);
  if (podUid !== undefined) info.podUid = podUid;
  return info;
}

/** The v2 path says more where there is one; v1 adds what it has not (hosts with v1 controllers put containers there). */
export function describeCgroups(paths: CgroupPaths): CgroupInfo {
  const v2 = describeCgroup(paths.v2);
  return paths.v1 === '' ? v2 : { ...describeCgroup(paths.v1), ...v2 };
}

/** v1 hierarchies in the order in which they are trusted to have a process's place: systemd's own, then those that runtimes always fill. */
const V1_HIERARCHIES = ['name=systemd', 'pids', 'memory', 'cpu', 'devices'];

/** Reads /proc/PID/cgroup (cgroups(7)): `0::PATH` of v2, `ID:CONTROLLERS:PATH` of v1; a path may hold colons. */
export function parseCgroupFile(text: string): CgroupPaths {
  let v2 = '';
  const v1 = new Map<string, string>();
  for (const line of text.split('\n', 64)) {
    const match = /^(\d+):([^:]*):(\/.*)$/.exec(line);
    if (match === null) continue;
    const [, id, controllers, path] = match as unknown as [string, string, string, string];
    if (id === '0' && controllers === '') v2 = path;
    else for (const name of controllers.split(',')) v1.set(name, path);
  }
  const inUse = V1_HIERARCHIES.map((name) => v1.get(name)).filter((path) => path !== undefined);
  // Elsewhere than at the root, if anywhere: a host may use only some of its hierarchies.
  return { v2, v1: inUse.find((path) => path !== '/') ?? inUse[0] ?? '' };
}

/**
 * systemd's own reading (cg_path_get_unit and cg_path_get_user_unit in src/basic/cgroup-util.c): the first segment
 * that is no slice is the unit, and below a user's manager the same once more. What is nested deeper was named by
 * whoever the cgroup was delegated to, a container's own systemd say, and is no unit of this host.
 */
function unitOf(segments: readonly string[]): string | undefined {
  const system = unitAt(segments, 0);
  if (system === undefined) return segments.map(unescapeName).findLast((segment) => USER_SLICE.test(segment));
  if (!USER_MANAGER.test(system.name)) return system.name;
  return unitAt(segments, system.index + 1)?.name ?? system.name;
}

function unitAt(segments: readonly string[], from: number): { name: string; index: number } | undefined {
  let index = from;
  while (index < segments.length && SLICE.test(unescapeName(segments[index]!))) index += 1;
  const name = unescapeName(segments[index] ?? '');
  return UNIT.test(name) ? { name, index } : undefined;
}

/** systemd puts `_` before a name that the kernel could take for one of its own files (cg_escape). */
const unescapeName = (segment: string): string => (segment.startsWith('_') ? segment.slice(1) : segment);

function containerOf(segments: readonly string[]): CgroupInfo['container'] {
  for (let i = segments.length - 1; i >= 0; i--) {
    // Four segments before it are as far as any row looks.
    const parent = segments.slice(Math.max(0, i - 4), i).join('/');
    for (const row of CONTAINERS) {
      const match = row.segment.exec(segments[i]!);
      if (match === null || (row.parent !== undefined && !row.parent.test(parent))) continue;
      return row.runtime === undefined ? undefined : { id: match[1]!, runtime: row.runtime };
    }
  }
  return undefined;
}

function podOf(segments: readonly string[]): string | undefined {
  if (!segments.some((segment) => segment.includes('kubepods'))) return undefined;
  for (let i = segments.length - 1; i >= 0; i--) {
    const match = POD.exec(segments[i]!);
    if (match !== null) return match[1]!.replaceAll('_', '-');
  }
  return undefined;
}
