/**
 * Offsets of the fields of native/record.h and of the structs of native/capture.h, and their constants, as the library's
 * `imds_layout` lists them (a test compares the two). Integers are little-endian on every processor that is supported.
 */
export const Layout = {
  header: { length: 0, type: 4, flags: 6, time: 8, size: 16 },
  process: { start: 0, pid: 8, comm: 16, size: 32 },
  connect: {
    cookie: 16,
    cgroupId: 24,
    remoteAddress: 32,
    remotePort: 48,
    family: 50,
    ancestorCount: 51,
    netns: 52,
    uid: 56,
    gid: 60,
    executable: 64,
    cgroup: 68,
    cgroupV1: 72,
    argv: 76,
    process: 80,
    ancestors: 112,
    size: 2416,
  },
  ancestor: { process: 16, argv: 48, size: 56 },
  packet: {
    cookie: 16,
    cgroupId: 24,
    localAddress: 32,
    remoteAddress: 48,
    localPort: 64,
    remotePort: 66,
    wireLength: 68,
    data: 72,
    size: 80,
  },
  span: { offset: 0, length: 2 },
  spanWide: { offset: 0, length: 4 },
  error: { code: 0, text: 4, size: 1028 },
  endpoint: { address: 0, port: 16, size: 20 },
  stats: {
    packetsSeen: 0,
    packetsCaptured: 8,
    ringDropped: 16,
    packetsPassedOver: 24,
    truncated: 32,
    connectsSeen: 40,
    connectsDropped: 48,
    size: 56,
  },
  progress: {
    bytesRead: 0,
    bytesTotal: 8,
    packets: 16,
    unreadable: 24,
    firstTime: 32,
    lastTime: 40,
    problem: 48,
    size: 304,
  },
  netns: { inode: 0, size: 12 },
  socketQuery: { cookie: 0, localAddress: 8, remoteAddress: 24, localPort: 40, remotePort: 42, size: 48 },
  socket: { cookie: 0, inode: 8, size: 16 },
} as const;

export const Constants = {
  recordConnect: 1,
  recordProcess: 2,
  recordPacket: 3,
  flagArgvTruncated: 1,
  flagEgress: 2,
  ancestors: 8,
  recordMax: 65616,
  maxEndpoints: 1024,
  socketNone: 0,
  socketGone: 1,
  socketFound: 2,
} as const;

/** Version of the ABI that this code speaks: IMDS_ABI_VERSION of native/capture.h. */
export const ABI_VERSION = 1;
