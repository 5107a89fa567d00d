/**
 * What is booted: a Debian suite for the root (and so for systemd), and one for the kernel. The first is the one that runs
 * where none is named.
 */
export const SYSTEMS = {
  /** systemd 252, Linux 6.12 */
  'bookworm-backports': { suite: 'bookworm', kernel: 'bookworm-backports' },
  /** systemd 252, Linux 6.1 */
  bookworm: { suite: 'bookworm', kernel: 'bookworm' },
  /** systemd 257, Linux 6.12 */
  trixie: { suite: 'trixie', kernel: 'trixie' },
  /** systemd 247, Linux 5.10 */
  bullseye: { suite: 'bullseye', kernel: 'bullseye' },
};
