import koffi from 'koffi';

/** <asm-generic/sockios.h>; tcp(7): bytes in the send queue, for TCP those that the peer has not acknowledged. */
const SIOCOUTQ = 0x5411;

let ioctl: ((fd: number, request: number, value: number[]) => number) | undefined;

/**
 * How many bytes that were written to a connected TCP socket its peer's TCP has not acknowledged. Node has no call for it.
 * Undefined where the socket is closed.
 */
export function unacknowledgedBytes(socket: object): number | undefined {
  // The descriptor is under an undocumented name that Node has had since its beginnings; TLS sockets give that of their TCP.
  const fd = (socket as { _handle?: { fd?: number } | null })._handle?.fd;
  if (fd === undefined || fd < 0) return undefined;
  ioctl ??= koffi.load('libc.so.6').func('int ioctl(int fd, unsigned long request, _Out_ int *value)');
  const value = [0];
  return ioctl(fd, SIOCOUTQ, value) === 0 ? value[0] : undefined;
}
