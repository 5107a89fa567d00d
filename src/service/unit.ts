import { usageError } from '../errors.js';

/** The name that `systemctl status imds_tracer_tool` asks for, and the second one. */
export const UNIT = 'imds_tracer_tool.service';
export const ALIAS = 'imds-tracer.service';
/** Where the packages put the program; the unit in systemd/ names these paths. */
export const PACKAGE_ROOT = '/usr/lib/imds-tracer';
const PACKAGE_NODE = `${PACKAGE_ROOT}/bin/node`;
const MAIN = 'dist/cli/main.js';

/** Where a program lies, as absolute paths. */
export interface Program {
  node: string;
  /** Folder with dist/ in it. */
  root: string;
}

export const mainOf = ({ root }: Program): string => `${root}/${MAIN}`;

/** What ProtectHome=yes hides (systemd.exec(5)). */
const HOMES = ['/home', '/root', '/run/user'];

/** The unit for a program that lies elsewhere than a package puts it: other paths, and those within a home made visible. */
export function renderUnit(template: string, program: Program): string {
  for (const path of [program.node, program.root]) checkPath(path);
  const hidden = [program.node, program.root].filter((path) => HOMES.some((home) => path.startsWith(`${home}/`)));
  const protectHome = ['ProtectHome=tmpfs', ...hidden.map((path) => `BindReadOnlyPaths=${path}`)].join('\n');
  const rendered = template
    .replace(`ExecStart=${PACKAGE_NODE} `, () => `ExecStart=${program.node} `)
    .replace(` ${PACKAGE_ROOT}/${MAIN} `, () => ` ${mainOf(program)} `);
  return hidden.length === 0 ? rendered : rendered.replace('ProtectHome=yes', () => protectHome);
}

/** systemd reads quotes, `%`, `$`, `:` and white space in different ways in different settings: none of them is let in. */
function checkPath(path: string): void {
  if (/^\/[\w./+@-]+$/.test(path)) return;
  throw usageError(
    'IMDS_SERVICE_PATH',
    `${JSON.stringify(path)} can't stand in a systemd unit`,
    'move the program to a path of letters, digits and . / + @ _ -',
  );
}
