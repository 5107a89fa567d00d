import { unescapeMountPath } from '../process/proc.js';

/** A line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). Paths are latin1 strings whose code units are bytes. */
export interface Mount {
  /** `major:minor`: the same for all mounts of one file system. */
  device: string;
  /** The directory of the file system that is mounted. */
  root: string;
  /** Where, as the process sees it. */
  path: string;
  type: string;
  /** Options of the file system: of an overlay its layers. */
  options: string;
}

/** File systems without files of anybody's, or (autofs) that mount something when they are looked at. */
const PSEUDO: ReadonlySet<string> = new Set(
  (
    'proc sysfs devtmpfs devpts cgroup cgroup2 securityfs debugfs tracefs pstore bpf configfs efivarfs mqueue hugetlbfs ' +
    'fusectl binfmt_misc autofs rpc_pipefs nsfs selinuxfs smackfs nfsd'
  ).split(' '),
);

/** File systems whose files are elsewhere: slow, and able to hang who looks at them. */
const NETWORK: ReadonlySet<string> = new Set(
  'nfs nfs4 cifs smb3 smbfs ceph glusterfs lustre 9p afs coda ncpfs gfs gfs2 ocfs2 beegfs gpfs orangefs davfs fuse'.split(
    ' ',
  ),
);

export type Passing = 'pseudo' | 'network';

/** Why a file system is passed over; undefined where it is looked through. */
function passedOver(type: string): Passing | undefined {
  if (PSEUDO.has(type)) return 'pseudo';
  // Of FUSE's, that of rootless containers is a local one.
  if (NETWORK.has(type) || (type.startsWith('fuse.') && type !== 'fuse.fuse-overlayfs')) return 'network';
  return undefined;
}

/** The same by the magic number of statfs(2), for what was mounted after the table of mounts was read. */
const BY_MAGIC: ReadonlyMap<number, Passing> = new Map([
  [0x9fa0, 'pseudo'], // proc
  [0x62656572, 'pseudo'], // sysfs
  [0x63677270, 'pseudo'], // cgroup2
  [0x27e0eb, 'pseudo'], // cgroup
  [0x1cd1, 'pseudo'], // devpts
  [0x0187, 'pseudo'], // autofs
  [0x6969, 'network'], // nfs
  [0x65735546, 'network'], // fuse
  [0xff534d42, 'network'], // cifs
  [0xfe534d42, 'network'], // smb2
  [0x01021997, 'network'], // 9p
  [0x00c36400, 'network'], // ceph
]);

export const passedOverByMagic = (magic: number): Passing | undefined => BY_MAGIC.get(magic >>> 0);

/** More lines than this are not read: a process can mount at most /proc/sys/fs/mount-max, 100,000. */
const MAX_MOUNTS = 100_000;

export function parseMountInfo(text: string): Mount[] {
  const mounts: Mount[] = [];
  for (const line of text.split('\n', MAX_MOUNTS)) {
    const [before, after] = line.split(' - ');
    const [, , device, root, path] = (before ?? '').split(' ');
    const [type, , options] = (after ?? '').split(' ');
    // What lies outside of the process's root has no path.
    if (device === undefined || type === undefined || !path?.startsWith('/')) continue;
    mounts.push({
      device,
      root: unescapeMountPath(root!),
      path: unescapeMountPath(path),
      type,
      options: options ?? '',
    });
  }
  return mounts;
}

/** `path` below `directory`, with a leading slash; `/` for itself, undefined for what is elsewhere. */
export function below(directory: string, path: string): string | undefined {
  if (directory === '/') return path;
  if (path === directory) return '/';
  return path.startsWith(`${directory}/`) ? path.slice(directory.length) : undefined;
}

const join = (directory: string, path: string): string =>
  path === '/' ? directory : directory === '/' ? path : `${directory}${path}`;

/** A root to look through: its mounts, their paths being those below it. */
export interface View {
  mounts: readonly Mount[];
}

export type Decision = 'walk' | 'twice' | Passing;

/** What to do at each mount point of a view. */
export type Plan = ReadonlyMap<string, Decision>;

/**
 * Decides which mounts of which view are looked through, so that each file is seen once: the roots first, in the order of the
 * views, then all other mounts. A mount of a directory that another mount shows already is passed over; so is the place where
 * the layers of an overlay lie whose merged tree is looked through: container runtimes keep them in the host's tree, and
 * name them by symbolic links, which `resolveLayer` follows.
 */
export function planMounts(views: readonly View[], resolveLayer: (path: string) => string = (path) => path): Plan[] {
  const tables = views.map(({ mounts }) => new Map(mounts.map((mount) => [mount.path, mount])));
  const plans: Map<string, Decision>[] = views.map(() => new Map());
  const walked: Walked[] = [];
  /** By file system and directory of it. */
  const places = new Map<string, Walked[]>();
  const decide = (view: number, mount: Mount): void => {
    const passing = mount.path === '/' ? undefined : passedOver(mount.type);
    const seen = upwards(mount.root).some((root) =>
      places.get(`${mount.device} ${root}`)?.some((other) => shows(tables[other.view]!, other.mount, mount)),
    );
    const decision = passing ?? (seen ? 'twice' : 'walk');
    plans[view]!.set(mount.path, decision);
    if (decision !== 'walk') return;
    walked.push({ view, mount });
    const key = `${mount.device} ${mount.root}`;
    const same = places.get(key) ?? [];
    // Each further one is hidden at the places of the others, which somebody has to have done on purpose.
    if (same.length < MAX_PLACES) places.set(key, [...same, { view, mount }]);
  };
  for (const [view, table] of tables.entries()) {
    const root = table.get('/');
    if (root !== undefined) decide(view, root);
  }
  for (const [view, table] of tables.entries()) {
    for (const mount of table.values()) if (mount.path !== '/') decide(view, mount);
  }
  for (const { view, mount } of walked) {
    // The layers of the host's own root lie outside of it.
    if (view === 0 && mount.path === '/') continue;
    for (const layer of overlayLayers(mount)) plans[0]?.set(resolveLayer(layer), 'twice');
  }
  return plans;
}

interface Walked {
  view: number;
  mount: Mount;
}

/** Mounts of the same directory that are compared with a further one. */
const MAX_PLACES = 16;

/** A path and the directories that it lies in; what is no path (`net:[4026531840]` of nsfs) lies in none. */
function upwards(path: string): string[] {
  const paths = [path];
  for (let slash = path.lastIndexOf('/'); slash > 0; slash = path.lastIndexOf('/', slash - 1)) {
    paths.push(path.slice(0, slash));
  }
  if (path.startsWith('/') && path !== '/') paths.push('/');
  return paths;
}

/** Whether what `mount` shows is also at a place of `other`, not hidden there by a further mount. */
function shows(table: ReadonlyMap<string, Mount>, other: Mount, mount: Mount): boolean {
  const inside = below(other.root, mount.root);
  if (inside === undefined) return false;
  const place = join(other.path, inside);
  for (let path = place; ; path = parentOf(path)) {
    const owner = table.get(path);
    if (owner !== undefined) return owner === other;
    if (path === '/') return false;
  }
}

const parentOf = (path: string): string => path.slice(0, Math.max(path.lastIndexOf('/'), 1)) || '/';

/** Absolute paths of an overlay's layers. Those that it was given relative to a directory are not known. */
function overlayLayers({ type, options }: Mount): string[] {
  if (type !== 'overlay') return [];
  return options.split(',').flatMap((option) => {
    const [, kind, value] = /^(lowerdir|upperdir)\+?=(.*)$/s.exec(option) ?? [];
    if (kind === undefined) return [];
    return (kind === 'lowerdir' ? value!.split(':') : [value!]).filter((path) => path.startsWith('/'));
  });
}
