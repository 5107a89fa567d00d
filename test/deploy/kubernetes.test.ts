import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { packageRoot } from '../../src/package-root.js';
import { deployed } from './support.js';

interface KubernetesObject {
  apiVersion: string;
  kind: string;
  // biome-ignore lint/suspicious/noExplicitAny: held against Kubernetes' own types below
  [member: string]: any;
}

const objects = parseAllDocuments(deployed('kubernetes/daemonset.yaml')).map(
  (document) => document.toJS() as KubernetesObject,
);

/** Where Kubernetes' types of each kind are, by apiVersion. */
const MODULES: Readonly<Record<string, string>> = { v1: 'core/v1', 'apps/v1': 'apps/v1' };

/** What the TypeScript compiler says of the objects, as literals of Kubernetes' own types. */
function typeErrors(of: readonly KubernetesObject[]): string[] {
  // Within the package, for the compiler to find node_modules.
  const folder = mkdtempSync(join(packageRoot(), 'build/kubernetes-'));
  const source = of.map(({ apiVersion, kind, ...rest }, i) => {
    const literal = JSON.stringify({ apiVersion, kind, ...rest }, null, 1);
    return `import type { ${kind} as T${i} } from 'kubernetes-types/${MODULES[apiVersion]}';\nexport const o${i}: T${i} = ${literal};\n`;
  });
  try {
    const file = join(folder, 'objects.ts');
    writeFileSync(file, source.join(''));
    const program = ts.createProgram([file], {
      strict: true,
      noEmit: true,
      skipLibCheck: true,
      types: [],
      lib: ['lib.es2022.d.ts'],
      module: ts.ModuleKind.ESNext,
      moduleResolution: ts.ModuleResolutionKind.Bundler,
    });
    return ts
      .getPreEmitDiagnostics(program)
      .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, ' '));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe('the Kubernetes manifest', () => {
  it("is of Kubernetes' own types", () => {
    expect(typeErrors(objects)).toEqual([]);
    const wrong = structuredClone(objects);
    wrong.find(({ kind }) => kind === 'DaemonSet')!['spec'].template.spec.hostPid = true;
    expect(typeErrors(wrong)).toEqual([expect.stringContaining('"hostPid"\' does not exist')]);
  });

  const pod = objects.find(({ kind }) => kind === 'DaemonSet')!['spec'].template.spec;
  const [container] = pod.containers;

  it('gives the container what the systemd unit gives the service, and no more', () => {
    const unit = /^CapabilityBoundingSet=(.*)$/m.exec(deployed('../systemd/imds_tracer_tool.service'))![1]!;
    const { capabilities, ...security } = container.securityContext;
    expect(capabilities.add.map((name: string) => `CAP_${name}`).sort()).toEqual(unit.split(' ').sort());
    expect(capabilities.drop).toEqual(['ALL']);
    expect(security).toMatchObject({
      privileged: false,
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
    });
    expect(container.resources.limits.memory).toBe('256Mi');
  });

  it('is not restarted for an answer that waits for its turn', () => {
    for (const probe of [container.readinessProbe, container.livenessProbe]) {
      // The server's answers wait for the next second, and again where others were there before.
      expect(probe.timeoutSeconds).toBeGreaterThan(2);
    }
  });

  it('sees the whole node, and writes to nothing of it but the logs', () => {
    expect(pod).toMatchObject({ hostPID: true, hostNetwork: true, tolerations: [{ operator: 'Exists' }] });
    const writable = container.volumeMounts.filter(({ readOnly }: { readOnly?: boolean }) => readOnly !== true);
    expect(writable).toEqual([{ name: 'logs', mountPath: '/var/log/imds' }]);
    for (const { name } of container.volumeMounts) {
      expect(pod.volumes.map((volume: { name: string }) => volume.name)).toContain(name);
    }
  });
});
