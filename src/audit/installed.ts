import type { Client } from './clients.js';
import { CALLED_BY } from './command.js';
import { sdkFinding } from './sdk.js';
import type { InventoryEntry, SdkFinding } from './types.js';

/** Which of the installed clients a traced client is. Made once of an inventory, asked for each client. */
export class Installed {
  readonly #byPath = new Map<string, InventoryEntry[]>();
  readonly #byPid = new Map<number, InventoryEntry[]>();
  readonly #scriptsByName = new Map<string, InventoryEntry[]>();
  readonly #cloudInit: InventoryEntry[] = [];

  constructor(inventory: readonly InventoryEntry[]) {
    for (const item of inventory) {
      put(this.#byPath, item.path, item);
      for (const pid of item.pids ?? []) put(this.#byPid, pid, item);
      if (item.kind === 'script') put(this.#scriptsByName, baseName(item.path), item);
      if (item.kind === 'cloud-init' || item.name === 'cloud-init') this.#cloudInit.push(item);
    }
  }

  /** Items that the client's program is, that its script is, or that one of its processes uses. */
  of(client: Client): SdkFinding[] {
    const found = new Set<InventoryEntry>();
    for (const pid of client.pids) for (const item of this.#byPid.get(pid) ?? []) found.add(item);
    if (client.executable !== null) for (const item of this.#at(client.executable, client)) found.add(item);
    for (const script of scriptsOf(client)) for (const item of this.#script(script, client)) found.add(item);
    if (client.command?.includes('cloud-init')) for (const item of this.#cloudInit) found.add(item);
    return [...found].map(({ kind, name, version, path, status }) => ({
      ...sdkFinding({ kind, name, version, how: 'inventory', path }),
      // The inventory has looked into it: what a distribution has brought back counts there.
      status,
    }));
  }

  #at(path: string, client: Client): InventoryEntry[] {
    return (this.#byPath.get(path) ?? []).filter((item) => isBeside(item, client));
  }

  #script(script: string, client: Client): InventoryEntry[] {
    if (script.startsWith('/')) return this.#at(script, client).filter(({ kind }) => kind === 'script');
    // From which folder it was run is not known: only where there is but one such script is it that one.
    const named = (this.#scriptsByName.get(baseName(script)) ?? []).filter(
      (item) => item.path.endsWith(`/${script}`) && isBeside(item, client),
    );
    return named.length === 1 ? named : [];
  }
}

function put<Key>(map: Map<Key, InventoryEntry[]>, key: Key, item: InventoryEntry): void {
  const items = map.get(key);
  if (items === undefined) map.set(key, [item]);
  else items.push(item);
}

const baseName = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

/** A path in a container is another than the same path on the host. */
const isBeside = (item: InventoryEntry, client: Client): boolean => (item.container_id ?? null) === client.container_id;

/** Scripts that a client runs, or that run it, as they are in its commands: absolute or not. */
const scriptsOf = (client: Client): string[] =>
  [client.command ?? '', ...client.callers.texts()]
    .flatMap((text) => text.split(CALLED_BY))
    // A program without a script has no space before it.
    .filter((command) => command.includes(' '))
    .map((command) => command.slice(command.lastIndexOf(' ') + 1).replace(/^(?:\.\/)+/, ''))
    .filter((script) => script !== '' && !script.startsWith('-'));
