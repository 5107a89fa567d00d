import process from 'node:process';

/** Where kernels and roots come from. */
export const MIRROR = process.env.DEBIAN_MIRROR ?? 'http://deb.debian.org/debian/';
