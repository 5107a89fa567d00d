// Builds the program that runs: dist/, of the modules that the TypeScript compiler makes in build/js.
//
//   node native/bundle.mjs [--packaged DIR]
//
// --packaged  the program in DIR instead of dist/, without source maps; what the compiler makes goes beside it
//
// Starting is what a short replay spends most of its time with: 70 modules of our own, 129 for `trace`, each looked up, read and
// linked. So they are joined into few files; what only one command needs stays in files that only it reads.
// They are CommonJS, as Node's loader of ES modules alone takes 9 ms (node a.mjs against node a.cjs, both next to empty).
// Tried and left out, on Node 20 and 22: V8's code cache (cachedData of vm.Script), which saved a few ms where it held what was compiled
// at once and lost 10 where it held all that had run; joining commander and pino as well, which saved 1 to 3 ms.
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { rollup } from 'rollup';
import { parseAst } from 'rollup/parseAst';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const { resolve } = createRequire(import.meta.url);

/** What is started by its path: the command line, processes and threads of it. Their places are the same in src/ and dist/. */
const ENTRIES = ['cli/main', 'lab/client-main', 'lab/service-main', 'report/read-thread'];

/** What all of them share. */
const BASE = ['errors', 'package-root', 'version'];

/** Packages that are joined as well: CommonJS can't load an ES module at once. All others are loaded from node_modules. */
const JOINED = ['leven'];

/**
 * Modules of Node's own that it has not loaded by the time it starts a program: 1 to 6 ms each. They are loaded where they are
 * first used.
 */
const LATE =
  'child_process crypto dgram fs/promises http https net perf_hooks stream stream/promises timers/promises tls util v8 worker_threads zlib'
    .split(' ')
    .map((name) => `node:${name}`);

function compile(to, sourceMaps) {
  const compiler = join(root, 'node_modules/typescript/bin/tsc');
  rmSync(to, { recursive: true, force: true });
  const args = [compiler, '-p', 'tsconfig.build.json', '--outDir', to, '--sourceMap', String(sourceMaps)];
  const { error, status, signal } = spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' });
  if (error) throw new Error(`the TypeScript compiler could not be started: ${error.message}`);
  if (status !== 0) throw new Error(`the TypeScript compiler ended with ${status ?? signal}`);
}

/** Where modules come from. */
const modules = {
  name: 'modules',
  resolveId(id) {
    if (JOINED.includes(id)) return resolve(id);
    return /^[./]/.test(id) ? null : { id, external: true };
  },
  load(id) {
    const map = `${id}.map`;
    return existsSync(map) ? { code: readFileSync(id, 'utf8'), map: JSON.parse(readFileSync(map, 'utf8')) } : null;
  },
  resolveImportMeta: (property) =>
    property === 'url' ? "require('node:url').pathToFileURL(__filename).href" : undefined,
};

/**
 * `var node_http = require('node:http')` becomes a function that loads it at its first call, and each use of it a call: the way of
 * Babel's `lazy` option.
 */
const late = {
  name: 'late',
  renderChunk(code) {
    const found = new Map();
    const edits = [];
    const { body } = parseAst(code);
    for (const { type, declarations, start, end } of body) {
      const [{ id, init } = {}] = type === 'VariableDeclaration' ? declarations : [];
      const name = init?.type === 'CallExpression' && init.callee.name === 'require' && init.arguments[0].value;
      if (!LATE.includes(name)) continue;
      found.set(id.name, id);
      edits.push([start, end, `let ${id.name}_; const ${id.name} = () => (${id.name}_ ??= require('${name}'));`]);
    }
    const uses = new Set();
    const constructed = new Set();
    visit(body, (node) => {
      if (node.type === 'NewExpression') constructed.add(leftmost(node.callee));
      const used = node.type === 'MemberExpression' && node.object.type === 'Identifier' && found.get(node.object.name);
      if (!used) return;
      const { name, start, end } = node.object;
      uses.add(node.object);
      // `new http().Agent()` would construct what is to be called.
      edits.push([start, end, constructed.has(node.object) ? `(${name}())` : `${name}()`]);
    });
    // Another variable of the name, or the module as a whole, would be something else by now.
    visit(body, (node) => {
      if (node.type !== 'Identifier' || !found.has(node.name) || uses.has(node) || found.get(node.name) === node)
        return;
      throw new Error(
        `${node.name} is used in a way that native/bundle.mjs does not know: ${code.slice(node.start, node.end + 40)}`,
      );
    });
    let done = code;
    for (const [start, end, text] of edits.sort(([a], [b]) => b - a)) {
      done = done.slice(0, start) + text + done.slice(end);
    }
    // Lines stay what they are.
    return { code: done, map: null };
  },
};

/** Of `a.b.c`: `a`. */
const leftmost = (node) => (node.type === 'MemberExpression' ? leftmost(node.object) : node);

/** Shows each node before what is in it. */
function visit(node, see) {
  if (Array.isArray(node)) {
    for (const element of node) visit(element, see);
  } else if (typeof node === 'object' && node !== null) {
    if (typeof node.type === 'string') see(node);
    for (const child of Object.values(node)) visit(child, see);
  }
}

/** Writes what runs, of the modules in `from`. */
async function link(from, to, sourceMaps) {
  const bundle = await rollup({
    input: Object.fromEntries(ENTRIES.map((name) => [name, join(from, `${name}.js`)])),
    plugins: [modules, late],
    onwarn: ({ message }) => {
      throw new Error(message);
    },
  });
  await bundle.write({
    dir: to,
    format: 'cjs',
    interop: 'default',
    entryFileNames: '[name].js',
    chunkFileNames: 'parts/[name].js',
    // Else what all commands share would be in that of the command line, which is a program and no library.
    manualChunks: { base: BASE.map((name) => join(from, `${name}.js`)) },
    hoistTransitiveImports: false,
    sourcemap: sourceMaps,
  });
  await bundle.close();
  writeFileSync(join(to, 'package.json'), '{ "type": "commonjs" }\n');
  // package.json's `bin`: npm links to it once, and a build replaces it.
  chmodSync(join(to, 'cli/main.js'), 0o755);
}

/** In place at once: a program that starts meanwhile finds the old one or the new one. */
function replace(to, made) {
  const old = `${to}.old`;
  rmSync(old, { recursive: true, force: true });
  if (existsSync(to)) renameSync(to, old);
  renameSync(made, to);
  rmSync(old, { recursive: true, force: true });
}

const [option, folder] = process.argv.slice(2);
const packaged = option === '--packaged';
const to = packaged ? folder : join(root, 'dist');
const compiled = packaged ? `${folder}.modules` : join(root, 'build/js');
try {
  compile(compiled, !packaged);
  rmSync(`${to}.new`, { recursive: true, force: true });
  await link(compiled, `${to}.new`, !packaged);
  replace(to, `${to}.new`);
} catch (error) {
  process.stderr.write(`bundle: ${error.message}\n`);
  process.exit(1);
}
