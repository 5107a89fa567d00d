import { ownPackage } from './package-root.js';

/** Version of this package, from its package.json. */
export const version: string = ownPackage().version;
