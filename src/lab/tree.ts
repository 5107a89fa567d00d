/** Files of an emulated service and the folders that list them, found as leniently as real services do. */
export class MetadataTree {
  readonly #content = new Map<string, string>();

  constructor(files: Readonly<Record<string, string>>) {
    const folders = new Map<string, Set<string>>();
    for (const [path, content] of Object.entries(files)) {
      this.#content.set(path.toLowerCase(), content);
      const names = path.split('/');
      for (let depth = 1; depth < names.length; depth += 1) {
        const folder = `${names.slice(0, depth).join('/')}/`.toLowerCase();
        const child = depth === names.length - 1 ? names[depth]! : `${names[depth]}/`;
        folders.set(folder, (folders.get(folder) ?? new Set()).add(child));
      }
    }
    for (const [folder, names] of folders) this.#content.set(folder, [...names].join('\n'));
  }

  /** @param path as `servicePath` gives it. */
  get(path: string): string | undefined {
    return this.#content.get(path) ?? this.#content.get(`${path}/`);
  }
}

/**
 * What a request target names: without origin, query and letter case, with slashes collapsed and a dated version as
 * `latest`. Real SDKs write `//latest/…`, `/latest/meta-data/Ram/…`, `/2016-01-01/…` and trailing `?`, and are answered.
 */
export function servicePath(target: string): string {
  const path = target.replace(/^https?:\/\/[^/?#]*/i, '').split(/[?#]/, 1)[0]!;
  return path
    .replace(/\/{2,}/g, '/')
    .replace(/^\/\d{4}-\d{2}-\d{2}\//, '/latest/')
    .toLowerCase();
}
