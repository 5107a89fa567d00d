// Loaded into the tracer by the soak test (node --require): says each second what its memory is made of, in a file that is
// always whole.
const { renameSync, writeFileSync } = require('node:fs');
const process = require('node:process');
const { isMainThread } = require('node:worker_threads');

const path = process.env.SOAK_HEAP_FILE;
if (isMainThread && path !== undefined) {
  const say = () => {
    writeFileSync(`${path}.new`, JSON.stringify(process.memoryUsage()));
    renameSync(`${path}.new`, path);
  };
  setInterval(say, 1000).unref();
}
